#include "search.h"

#include <cmath>
#include <stdexcept>

namespace ds2 {
namespace {

[[noreturn]] void refuse(const std::string& message) { throw std::invalid_argument(message); }

void check(const SearchOptions& options) {
  const auto number = [](double value) { return std::to_string(value); };
  if (options.beam < 1 || options.beam > 65536) {
    refuse("beam must be 1 to 65536, got " + std::to_string(options.beam));
  }
  if (!(options.alpha >= 0.0f) || !std::isfinite(options.alpha)) {
    refuse("alpha must be a finite number, 0 or more, got " + number(options.alpha));
  }
  if (!std::isfinite(options.beta)) {
    refuse("beta must be a finite number, got " + number(options.beta));
  }
  if (!(options.cutoff > 0.0f) || options.cutoff > 1.0f) {
    refuse("cutoff must be above 0 and at most 1, got " + number(options.cutoff));
  }
  if (options.top < 1) refuse("top must be 1 or more, got " + std::to_string(options.top));
  if (!(options.threshold > 0.0f)) {
    refuse("threshold must be above 0, got " + number(options.threshold));
  }
  if (options.max_ambiguity < 1) {
    refuse("max_ambiguity must be 1 frame or more, got " + std::to_string(options.max_ambiguity));
  }
}

// A little above 0 passes: quantised outputs are off by their rounding.
constexpr float kLargestLogProb = 0.05f;

}  // namespace

Search::Search(std::vector<std::string> tokens, int blank, int space,
               std::shared_ptr<const Lexicon> lexicon,
               std::shared_ptr<const LanguageModel> language_model, SearchOptions options)
    : tokens_(std::move(tokens)),
      blank_(blank),
      space_(space),
      lexicon_(std::move(lexicon)),
      language_model_(std::move(language_model)),
      options_(options),
      alpha_(language_model_ ? options.alpha : 0.0f) {
  check(options_);
  const int count = token_count();
  const std::string range = "0 to " + std::to_string(count - 1);
  if (count < 2) refuse("at least 2 tokens are needed, got " + std::to_string(count));
  if (blank < 0 || blank >= count) {
    refuse("blank must be a token index, " + range + ", got " + std::to_string(blank));
  }
  if (space != kNoIndex && (space < 0 || space >= count || space == blank)) {
    refuse("space must be a token index, " + range + " and not the blank's, got " +
           std::to_string(space));
  }
  if (lexicon_) {
    if (space == kNoIndex) refuse("a lexicon needs a space token, which ends words");
    if (lexicon_->token_count() != tokens_.size()) {
      refuse("the lexicon is for " + std::to_string(lexicon_->token_count()) +
             " tokens, the search for " + std::to_string(count));
    }
    if (lexicon_->uses(blank) || lexicon_->uses(space)) {
      refuse("the lexicon spells words with the blank or the space token");
    }
    if (language_model_ && lexicon_->language_model() != language_model_.get()) {
      refuse("the lexicon was made for another language model; make it with this one");
    }
  } else if (language_model_) {
    refuse("a word language model needs a lexicon");
  }
  if (!language_model_) language_model_ = std::make_shared<ZeroModel>();
}

void check_frames(const float* log_probs, int64_t frames, int64_t tokens) {
  for (int64_t t = 0; t < frames; ++t) {
    const float* frame = log_probs + t * tokens;
    int bad = 0;
    for (int64_t v = 0; v < tokens; ++v) bad |= !(frame[v] <= kLargestLogProb);
    if (!bad) continue;
    int64_t v = 0;
    while (frame[v] <= kLargestLogProb) ++v;
    refuse("log_probs[" + std::to_string(t) + ", " + std::to_string(v) + "] is " +
           std::to_string(frame[v]) + "; natural log probabilities are needed, none above 0");
  }
}

}  // namespace ds2
