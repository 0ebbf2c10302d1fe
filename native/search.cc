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
  if (!(options.unknown >= 0.0f)) {
    refuse("unknown must be a cost in nats, 0 or more, got " + number(options.unknown));
  }
  if (!(options.prior >= 0.0f) || options.prior > 1.0f) {
    refuse("prior must be 0 to 1, got " + number(options.prior));
  }
}

// A little above 0 passes: quantised outputs are off by their rounding.
constexpr float kLargestLogProb = 0.05f;

}  // namespace

Search::Search(Speller speller, SearchParts parts, SearchOptions options)
    : speller_(std::move(speller)),
      parts_(std::move(parts)),
      options_(options),
      alpha_(parts_.language_model ? options.alpha : 0.0f) {
  check(options_);
  check_parts();
  if (parts_.language_model && !parts_.lexicon) index_tokens();
  static const auto no_model = std::make_shared<const ZeroModel>();
  if (!parts_.language_model) parts_.language_model = no_model;
  unknown_ = alpha_ * parts_.language_model->unigram(kUnknownWord);
  for (float& value : parts_.prior) value *= options.prior;
  if (options.prior == 0.0f) parts_.prior.clear();
  many_spellings_ = parts_.closed ? std::isfinite(options_.unknown)
                                  : has_endless_words() && !speller_.is_plain();
}

void Search::check_parts() const {
  const std::vector<float>& prior = parts_.prior;
  if (!prior.empty() && prior.size() != tokens().size()) {
    refuse("the label prior needs a log probability for each of the " +
           std::to_string(token_count()) + " tokens, got " + std::to_string(prior.size()));
  }
  for (const float value : prior) {
    if (!(value <= kLargestLogProb) || !std::isfinite(value)) {
      refuse("the label prior must be finite log probabilities, got " + std::to_string(value));
    }
  }
  if (prior.empty() && options_.prior > 0.0f) refuse("the option prior needs a label prior");
  const auto belongs = [&](const Speller& other, const char* what) {
    if (!(other == speller_)) refuse(std::string(what) + " was made for other tokens");
  };
  if (parts_.phrases) belongs(parts_.phrases->speller(), "the phrases' list");
  if (parts_.closed) {
    belongs(parts_.closed->speller(), "the closed vocabulary");
    if (parts_.lexicon || parts_.language_model || parts_.phrases) {
      refuse("a closed vocabulary stands alone: no lexicon, language model or boosted phrases");
    }
  }
  if (!parts_.lexicon) {
    if (!parts_.closed && std::isfinite(options_.unknown)) {
      refuse("the option unknown needs a lexicon or a closed vocabulary");
    }
    return;
  }
  if (space() == kNoIndex) refuse("a lexicon needs a space token, which ends words");
  belongs(parts_.lexicon->speller(), "the lexicon");
  const LanguageModel* model = parts_.language_model.get();
  if (model && parts_.lexicon->language_model() != model) {
    refuse("the lexicon was made for another language model; make it with this one");
  }
}

// The language model's word for each token. A model of letters cannot have " " as a word.
void Search::index_tokens() {
  const LanguageModel& model = *parts_.language_model;
  int unknown = 0;
  std::string example;
  for (int32_t token = 0; token < token_count(); ++token) {
    WordId word = kUnknownWord;
    if (token == space()) {
      for (const char* name : {"|", "<space>", "\u2581"}) {
        if (word == kUnknownWord) word = model.index(name);
      }
    } else if (token != blank()) {
      word = model.index(tokens()[token]);
    }
    token_words_.push_back(word);
    if (word != kUnknownWord || token == blank()) continue;
    ++unknown;
    if (example.empty()) example = tokens()[token];
  }
  // A model of words knows many characters, which are words, too; but far more that are no tokens.
  const int64_t others = model.size() - (token_count() - unknown);
  if (unknown > 0.5 * token_count() || others > 8 * token_count() ||
      (unknown > 0.1 * token_count() && others > token_count())) {
    refuse("the language model has " + std::to_string(model.size()) + " words and does not know " +
           std::to_string(unknown) + " of the " + std::to_string(token_count() - 1) + " tokens" +
           (example.empty() ? "" : ", for example " + quoted(example)) +
           "; without a lexicon, a model of tokens is needed");
  }
}

bool Search::has_words_of(const Search& other) const {
  return speller_ == other.speller_ && parts_.lexicon == other.parts_.lexicon &&
         parts_.closed == other.parts_.closed &&
         parts_.language_model == other.parts_.language_model;
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
