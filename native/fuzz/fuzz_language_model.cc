// The input is a language model file: KenLM binaries and ARPA files, damaged in any way.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "fuzz.h"
#include "language_model.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

using namespace ds2;

// What all binaries of this machine begin with: magic and test values.
constexpr size_t kHeader = 88;
std::vector<uint8_t> header() {
  std::vector<uint8_t> bytes(kHeader);
  FILE* file = std::fopen(DS2_TEST_DATA "/kenlm/small.trie", "rb");
  fuzz::expect(file && std::fread(bytes.data(), 1, kHeader, file) == kHeader, "a seed to read");
  std::fclose(file);
  return bytes;
}

// The words of small.arpa, and whatever stands at the end of the file.
std::vector<std::string_view> words_of(std::string_view content) {
  std::vector<std::string_view> words{"a",  "ab",  "all",  "ball", "call",
                                      "la", "<s>", "</s>", "<unk>"};
  const size_t tail = content.size() - std::min<size_t>(content.size(), 60);
  for (size_t begin = tail, end; begin < content.size() && words.size() < 16; begin = end + 1) {
    end = std::min(content.find_first_of(std::string_view("\0\n\t ", 4), begin), content.size());
    words.push_back(content.substr(begin, end - begin));
  }
  return words;
}

void query(const LanguageModel& model, std::string_view content) {
  const std::vector<std::string_view> words = words_of(content);
  for (const std::string_view word : words) {
    fuzz::expect(std::isfinite(model.unigram(model.index(word))), "a finite score of a word");
  }
  // Contexts of all lengths, one after another.
  LmState state = model.start(), next;
  for (size_t i = 0; i < 8 * words.size(); ++i) {
    const std::string_view word = words[i * i % 101 % words.size()];
    fuzz::expect(std::isfinite(model.score(state, model.index(word), &next)), "a finite score");
    state = next;
    fuzz::expect(std::isfinite(model.finish(state)), "a finite score of the end");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const fuzz::MemoryFile file(data, size);
  try {
    const auto model = load_kenlm(file.path());
    query(*model, {reinterpret_cast<const char*>(data), size});
  } catch (const std::runtime_error& error) {
    fuzz::expect(std::strstr(error.what(), "cannot load the language model"), "a message of ours");
  }
  return 0;
}

// A damaged magic is found soon enough without help: mostly it is put right again, so that the
// time goes into what comes after it.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  const bool was_binary = size >= kHeader && std::memcmp(data, "mmap", 4) == 0;
  size = LLVMFuzzerMutate(data, size, max_size);
  static const std::vector<uint8_t> right = header();
  if (was_binary && seed % 16 && size >= kHeader) std::copy(right.begin(), right.end(), data);
  return size;
}
