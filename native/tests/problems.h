// Small problems for the tests, the stress and the fuzzers.
#pragma once

#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "search.h"

namespace ds2::problems {

constexpr int kBlank = 0, kSpace = 1;

inline std::vector<std::string> letters() { return {"<blank>", " ", "a", "b", "c", "l"}; }
inline Speller speller() { return Speller(letters(), kBlank, kSpace); }

// Prunes nothing, unless told to.
inline SearchOptions exhaustive() {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  return {65536, 1.0f, 0.5f, 1.0f, 10000, kInfinity, 1000000, kInfinity, 0.0f};
}

// As decoders use them.
inline SearchOptions usual() {
  return {16, 1.0f, 0.5f, 0.99f, 8, 12.0f, 250, std::numeric_limits<float>::infinity(), 0.0f};
}

inline std::shared_ptr<const Lexicon> lexicon(const std::vector<std::string_view>& words,
                                              std::shared_ptr<const LanguageModel> model) {
  return std::make_shared<const Lexicon>(words, speller(), std::move(model));
}

// Every distribution sums to 1; a larger `sharpness` gives one token more of it.
inline std::vector<float> random_frames(unsigned seed, size_t frames, size_t tokens,
                                        float sharpness) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, sharpness);
  std::vector<float> log_probs(frames * tokens);
  for (size_t begin = 0; begin < log_probs.size(); begin += tokens) {
    double sum = 0.0;
    for (size_t i = begin; i < begin + tokens; ++i) sum += std::exp(log_probs[i] = normal(random));
    const auto whole = static_cast<float>(std::log(sum));
    for (size_t i = begin; i < begin + tokens; ++i) log_probs[i] -= whole;
  }
  return log_probs;
}

// One search of each kind of vocabulary, over letters().
inline std::vector<std::shared_ptr<const Search>> searches(
    std::shared_ptr<const LanguageModel> model, const SearchOptions& options) {
  const std::vector<std::string_view> words{"a", "ab", "all", "ball", "call"};
  SearchParts any, plain, scored, open, closed, listening;
  plain.lexicon = lexicon(words, nullptr);
  scored.lexicon = lexicon(words, model);
  scored.language_model = model;
  open = listening = scored;
  closed.closed = std::make_shared<const ClosedVocabulary>(
      std::vector<std::string>{"a ball", "call a ball", "all"}, speller());
  listening.phrases = std::make_shared<const Phrases>(
      std::vector<Phrase>{{"ab ab", 2.0f}, {"ball", -1.0f}, {"bacca", 3.0f}}, speller());
  listening.prior.assign(letters().size(), -std::log(static_cast<float>(letters().size())));
  SearchOptions with_unknown = options, with_prior = options;
  with_unknown.unknown = 4.0f;
  with_prior.prior = 0.3f;
  const auto make = [](const SearchParts& parts, const SearchOptions& used) {
    return std::make_shared<const Search>(speller(), parts, used);
  };
  return {make(any, options),    make(plain, options),     make(scored, options),
          make(closed, options), make(open, with_unknown), make(closed, with_unknown),
          make(listening, with_prior)};
}

// As text with scores and times, so that any difference shows.
inline std::string show(const std::vector<Word>& words) {
  std::string text;
  for (const Word& word : words) {
    text += word.text + "[" + std::to_string(word.start_frame) + "," +
            std::to_string(word.end_frame) + "," + std::to_string(word.confidence) + "] ";
  }
  return text;
}

inline std::string show(const std::vector<Hypothesis>& hypotheses) {
  std::string text;
  for (const Hypothesis& one : hypotheses) {
    text += std::to_string(one.score) + ": " + show(one.words) + "\n";
  }
  return text;
}

}  // namespace ds2::problems
