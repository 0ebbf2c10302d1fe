#include "language_model.h"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

using namespace ds2;

namespace {

constexpr const char* kLayouts[] = {"probing", "rest_probing", "trie",
                                    "quant_trie", "array_trie", "quant_array_trie"};
const std::vector<std::string> kWords = {"a", "ab", "all", "ball", "call", "la", "zebra"};

std::string path_of(const std::string& layout) {
  return std::string(DS2_TEST_DATA) + "/kenlm/small." + layout;
}

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class TemporaryFile {
 public:
  TemporaryFile() : path_(std::filesystem::temp_directory_path() /
                          ("ds2edge_" + std::to_string(reinterpret_cast<uintptr_t>(this)))) {}
  ~TemporaryFile() { std::filesystem::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;

  std::string write(const std::string& content) const {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << content;
    return path_.string();
  }

 private:
  std::filesystem::path path_;
};

// Asks for every pair and triple of words; every answer must be a number.
void query_all(const LanguageModel& model) {
  for (const std::string& first : kWords) {
    REQUIRE(std::isfinite(model.unigram(model.index(first))));
    LmState after_first, after_second, after_third;
    REQUIRE(std::isfinite(model.score(model.start(), model.index(first), &after_first)));
    for (const std::string& second : kWords) {
      REQUIRE(std::isfinite(model.score(after_first, model.index(second), &after_second)));
      REQUIRE(std::isfinite(model.finish(after_second)));
      for (const std::string& third : kWords) {
        REQUIRE(std::isfinite(model.score(after_second, model.index(third), &after_third)));
      }
    }
  }
}

// Was it refused? If not, it must answer.
bool is_refused(const std::string& path) {
  std::shared_ptr<const LanguageModel> model;
  try {
    model = load_kenlm(path);
  } catch (const std::runtime_error& error) {
    CHECK(std::string(error.what()).find(path) != std::string::npos);
    return true;
  }
  query_all(*model);
  return false;
}

}  // namespace

TEST_CASE("all layouts give the scores of the ARPA file") {
  const auto arpa = load_kenlm(path_of("arpa"));
  for (const std::string layout : kLayouts) {
    CAPTURE(layout);
    const auto model = load_kenlm(path_of(layout));
    CHECK(model->order() == 3);
    const double tolerance = layout.find("quant") == std::string::npos ? 1e-5 : 0.5;
    for (const std::vector<std::string>& sentence :
         {std::vector<std::string>{"a", "ab", "all"}, {"la", "la", "la"}, {"zebra"}, {}}) {
      CHECK(std::abs(model->sentence(sentence) - arpa->sentence(sentence)) < tolerance);
    }
    query_all(*model);
  }
}

TEST_CASE("a binary that is cut off anywhere is refused") {
  const TemporaryFile file;
  for (const std::string layout : kLayouts) {
    CAPTURE(layout);
    const std::string whole = content(path_of(layout));
    for (size_t size = 0; size < whole.size(); ++size) {
      CAPTURE(size);
      REQUIRE(is_refused(file.write(whole.substr(0, size))));
    }
  }
}

TEST_CASE("a binary with any one byte changed is refused, or answers") {
  const TemporaryFile file;
  for (const std::string layout : kLayouts) {
    CAPTURE(layout);
    const std::string whole = content(path_of(layout));
    for (size_t at = 0; at < whole.size(); ++at) {
      for (const int flip : {0xff, 0x80, 0x01}) {
        CAPTURE(at);
        std::string damaged = whole;
        damaged[at] = static_cast<char>(damaged[at] ^ flip);
        is_refused(file.write(damaged));
      }
    }
  }
}

TEST_CASE("an announced size that no memory has is refused before it is asked for") {
  const TemporaryFile file;
  const std::string whole = content(path_of("arpa"));
  for (const char* count :
       {"ngram 2=99999999999999", "ngram 2=-1", "ngram 2=184467440737095516150"}) {
    std::string damaged = whole;
    const size_t line = damaged.find("ngram 2=");
    damaged.replace(line, damaged.find('\n', line) - line, count);
    CHECK(is_refused(file.write(damaged)));
  }
}

TEST_CASE("a number too long for KenLM's messages is refused like others") {
  const TemporaryFile file;
  const std::string whole = content(path_of("arpa"));
  for (const char* number : {"1e20", "3.4e38", "123456789012345678901234", "nan", "-1e-30"}) {
    std::string damaged = whole;
    const size_t line = damaged.find("-1.3222193\t<unk>");
    damaged.replace(line, 10, number);
    is_refused(file.write(damaged));
    damaged = whole;  // the longest n-grams have no backoff
    const size_t end = damaged.find('\n', damaged.find("\\3-grams:") + 10);
    damaged.insert(end, std::string("\t") + number);
    CHECK(is_refused(file.write(damaged)));
  }
}

TEST_CASE("the empty sentence and unknown words have scores; the null model scores nothing") {
  const ZeroModel none;
  CHECK(none.sentence({"a", "b"}) == 0.0f);
  CHECK(none.index("a") == kUnknownWord);
  const auto model = load_kenlm(path_of("trie"));
  CHECK(model->index("zebra") == kUnknownWord);
  CHECK(model->index("") == kUnknownWord);
  CHECK(model->sentence({}) < 0.0f);
}
