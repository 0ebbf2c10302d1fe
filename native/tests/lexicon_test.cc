#include "lexicon.h"

#include <doctest/doctest.h>

#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "problems.h"

using namespace ds2;

namespace {

// UTF-8 of a character with three bytes.
std::string character(unsigned code) {
  return {static_cast<char>(0xe0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 63)),
          static_cast<char>(0x80 | (code & 63))};
}

std::vector<std::string> many_tokens(size_t count) {
  std::vector<std::string> tokens{"<blank>", " "};
  for (size_t i = 2; i < count; ++i) tokens.push_back(character(0x4e00 + static_cast<unsigned>(i)));
  return tokens;
}

std::vector<std::string_view> views(const std::set<std::string>& words) {
  return {words.begin(), words.end()};
}

}  // namespace

TEST_CASE("every walk through the trie is the beginning of a word, and the other way round") {
  // 40: a bit for each token; 5000: tokens share bits and are searched for.
  for (const size_t count : {size_t{40}, size_t{64}, size_t{65}, size_t{200}, size_t{5000}}) {
    CAPTURE(count);
    const std::vector<std::string> tokens = many_tokens(count);
    std::mt19937 random(static_cast<unsigned>(count));
    std::set<std::vector<int32_t>> spellings, beginnings;
    std::set<std::string> words;
    for (int i = 0; i < 300; ++i) {
      std::vector<int32_t> spelling;
      std::string word;
      for (size_t letter = 0; letter < 1 + random() % 3; ++letter) {
        spelling.push_back(static_cast<int32_t>(2 + random() % (count - 2)));
        word += tokens[spelling.back()];
        beginnings.insert(spelling);
      }
      spellings.insert(spelling);
      words.insert(word);
    }
    const Lexicon lexicon(views(words), Speller(tokens, 0, 1), nullptr);
    CHECK(lexicon.size() == words.size());
    for (const std::vector<int32_t>& spelling : beginnings) {
      int32_t node = Lexicon::kRoot;
      for (const int32_t token : spelling) node = lexicon.child(node, token);
      REQUIRE(node != Lexicon::kNone);
      CHECK(lexicon.ends_word(node) == (spellings.count(spelling) > 0));
      CHECK(lexicon.outlook(node) == 0.0f);
    }
    // No other children.
    size_t edges = 0;
    std::vector<int32_t> open{Lexicon::kRoot};
    while (!open.empty()) {
      const int32_t node = open.back();
      open.pop_back();
      for (int32_t token = 0; token < static_cast<int32_t>(count); ++token) {
        const int32_t child = lexicon.child(node, token);
        if (child == Lexicon::kNone) continue;
        ++edges;
        open.push_back(child);
      }
    }
    CHECK(edges == beginnings.size());
  }
}

TEST_CASE("the outlook is the best word's, and falls on the way to it") {
  const auto model = load_kenlm(DS2_TEST_DATA "/tiny.arpa");
  const auto lexicon = problems::lexicon({"a", "ab", "all"}, model);
  const auto unigram = [&](const char* word) { return model->unigram(model->index(word)); };
  const int32_t a = lexicon->child(Lexicon::kRoot, 2);
  const int32_t ab = lexicon->child(a, 3), al = lexicon->child(a, 5);
  CHECK(lexicon->outlook(Lexicon::kRoot) == doctest::Approx(unigram("a")));
  CHECK(lexicon->outlook(a) == doctest::Approx(unigram("a")));
  CHECK(lexicon->outlook(ab) == doctest::Approx(unigram("ab")));
  CHECK(lexicon->outlook(al) == doctest::Approx(unigram("all")));
}

TEST_CASE("the same word twice is one word") {
  const auto lexicon = problems::lexicon({"ab", "a", "ab"}, nullptr);
  CHECK(lexicon->contains("ab"));
  CHECK(lexicon->contains("a"));
  CHECK_FALSE(lexicon->contains("b"));
}

TEST_CASE("bytes that are no UTF-8 are refused and nothing is read beyond them") {
  for (const char* word : {"\xff", "a\xe4\xb8", "\xf0", "a\xc3", "\x80\x80"}) {
    const std::string exact(word);  // on the heap, where a sanitizer watches its end
    const std::vector<std::string_view> words{exact};
    CHECK_THROWS_AS(problems::lexicon(words, nullptr), std::invalid_argument);
  }
  CHECK_FALSE(problems::lexicon({"a"}, nullptr)->contains("\xe4"));
}
