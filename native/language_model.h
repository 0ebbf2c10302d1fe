// Word language models: shared by all searches, constant, safe to use from many threads.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ds2 {

using WordId = uint32_t;
constexpr WordId kUnknownWord = 0;

// What a model remembers of the words so far; a plain value that each model fills as it likes.
struct LmState {
  alignas(8) unsigned char memory[48];
};

// Scores a sentence word by word; all scores are natural logarithms.
//
//   LmState state = model.start(), next;
//   for (WordId word : sentence) { total += model.score(state, word, &next); state = next; }
//   total += model.finish(state);                                   // the end of the sentence
class LanguageModel {
 public:
  virtual ~LanguageModel() = default;
  virtual LmState start() const = 0;
  virtual float score(const LmState& state, WordId word, LmState* next) const = 0;
  virtual float finish(const LmState& state) const = 0;
  // log p(word) without any context.
  virtual float unigram(WordId word) const = 0;
  // kUnknownWord for a word that the model does not know.
  virtual WordId index(std::string_view word) const = 0;
  virtual int order() const = 0;
  // How many words it knows; about, a few marks may be among them.
  virtual int64_t size() const = 0;

  float sentence(const std::vector<std::string>& words) const;
};

// The null object: every sentence scores 0.
class ZeroModel final : public LanguageModel {
 public:
  LmState start() const override { return {}; }
  float score(const LmState&, WordId, LmState* next) const override { return *next = {}, 0.0f; }
  float finish(const LmState&) const override { return 0.0f; }
  float unigram(WordId) const override { return 0.0f; }
  WordId index(std::string_view) const override { return kUnknownWord; }
  int order() const override { return 0; }
  int64_t size() const override { return 0; }
};

// Opens an n-gram model written by KenLM (binary files are memory-mapped) or in ARPA format.
// Throws std::runtime_error that names the file and what is wrong with it; prints nothing.
std::shared_ptr<const LanguageModel> load_kenlm(const std::string& path);

}  // namespace ds2
