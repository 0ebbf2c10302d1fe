// A whole search: options, vocabulary, language model and frames, and the calls in any order.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "fuzz.h"
#include "search.h"

namespace {

using namespace ds2;
using Input = FuzzedDataProvider;
using Model = std::shared_ptr<const LanguageModel>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = 1e9f;  // of the options that ds2edge.decoder lets through

float number(Input* in, float low, float high) {
  switch (in->ConsumeIntegralInRange(0, 9)) {
    case 0: return low;
    case 1: return high;
    default: return in->ConsumeFloatingPointInRange(std::max(low, -20.0f), std::min(high, 20.0f));
  }
}

SearchOptions make_options(Input* in) {
  SearchOptions options;
  options.beam = in->ConsumeIntegralInRange(1, in->ConsumeBool() ? 8 : 64);
  options.alpha = number(in, 0.0f, kLargest);
  options.beta = number(in, -kLargest, kLargest);
  options.cutoff = in->ConsumeBool() ? 1.0f : in->ConsumeFloatingPointInRange(0.001f, 1.0f);
  options.top = in->ConsumeIntegralInRange(1, 40);
  options.threshold = in->ConsumeBool() ? kInfinity : in->ConsumeFloatingPointInRange(0.01f, 40.0f);
  options.max_ambiguity = in->ConsumeIntegralInRange(1, 60);
  options.unknown = in->ConsumeBool() ? kInfinity : number(in, 0.0f, kLargest);
  options.prior = 0.0f;
  return options;
}

std::vector<std::string> make_tokens(Input* in) {
  std::vector<std::string> tokens{"<blank>", " ", "a", "b", "l"};
  if (in->ConsumeBool()) tokens.push_back("al");  // many spellings
  if (in->ConsumeIntegralInRange(0, 7) == 0) {    // more than fit into a mask
    for (int i = 0; i < 70; ++i) tokens.push_back("x" + std::to_string(i));
  }
  return tokens;
}

// A model of its own, where each probability is chosen.
Model make_model(Input* in) {
  const auto log10 = [in] { return std::to_string(in->ConsumeFloatingPointInRange(-6.0f, 0.0f)); };
  std::string arpa = "\\data\\\nngram 1=7\nngram 2=3\n\n\\1-grams:\n";
  for (const char* word : {"<unk>", "<s>", "</s>", "a", "ab", "all", "b"}) {
    arpa += log10() + "\t" + word + "\t" + log10() + "\n";
  }
  arpa += "\n\\2-grams:\n" + log10() + "\t<s> a\n" + log10() + "\ta ab\n" + log10() + "\ta </s>\n";
  arpa += "\n\\end\\\n";
  return load_kenlm(fuzz::MemoryFile(arpa.data(), arpa.size()).path());
}

Model pick_model(Input* in) {
  static const Model models[] = {
      load_kenlm(DS2_TEST_DATA "/tiny.arpa"),
      load_kenlm(DS2_TEST_DATA "/kenlm/small.probing"),
      load_kenlm(DS2_TEST_DATA "/kenlm/small.quant_array_trie"),
  };
  const auto which = in->ConsumeIntegralInRange<size_t>(0, std::size(models) + 1);
  if (which < std::size(models)) return models[which];
  return which == std::size(models) ? nullptr : make_model(in);
}

template <class T>
std::vector<T> pick(Input* in, const std::vector<T>& all, size_t least) {
  std::vector<T> some;
  for (const T& one : all) {
    if (in->ConsumeBool()) some.push_back(one);
  }
  while (some.size() < least) some.push_back(all[some.size()]);
  return some;
}

SearchParts make_parts(Input* in, const Speller& speller, SearchOptions* options) {
  SearchParts parts;
  const int kind = in->ConsumeIntegralInRange(0, 3);
  if (kind == 3) {
    const auto phrases = pick<std::string>(in, {"a ab", "ab", "a", "all ab a", "b b"}, 1);
    parts.closed = std::make_shared<const ClosedVocabulary>(phrases, speller);
    return parts;
  }
  if (kind > 0) parts.language_model = pick_model(in);
  if (kind > 0) {
    const auto words = pick<std::string_view>(in, {"a", "ab", "all", "b", "ball", "aa"}, 1);
    parts.lexicon = std::make_shared<const Lexicon>(words, speller, parts.language_model);
  } else {
    parts.language_model = in->ConsumeBool() ? pick_model(in) : nullptr;  // of tokens
    options->unknown = kInfinity;
  }
  if (in->ConsumeBool()) {
    std::vector<Phrase> phrases;
    for (const std::string& text : pick<std::string>(in, {"a ab", "ab", "a", "ll b", "b b b"}, 1)) {
      phrases.push_back({text, number(in, -kLargest, kLargest)});
    }
    parts.phrases = std::make_shared<const Phrases>(phrases, speller);
  }
  if (in->ConsumeIntegralInRange(0, 3) == 0) {
    options->prior = in->ConsumeFloatingPointInRange(0.0f, 1.0f);
    for (size_t i = 0; i < speller.tokens().size(); ++i) {
      parts.prior.push_back(in->ConsumeFloatingPointInRange(-20.0f, 0.0f));
    }
  }
  return parts;
}

// Mostly frames where one token stands out; some of odd values.
std::vector<float> make_frames(Input* in, size_t tokens) {
  static const float kOdd[] = {0.0f, -0.0f, 0.05f, -1e-40f, kLogZero, -1e38f, -kInfinity};
  std::vector<float> frames;
  const size_t repeat = in->ConsumeIntegralInRange<size_t>(1, 8);
  for (size_t count = in->ConsumeIntegralInRange<size_t>(0, 40); count > 0; --count) {
    const auto kind = in->ConsumeIntegral<uint8_t>();
    std::vector<float> frame(tokens, -static_cast<float>(kind >> 4) - 0.5f);
    const size_t likely = in->ConsumeIntegralInRange<size_t>(0, tokens - 1);
    frame[likely] = -static_cast<float>(in->ConsumeIntegral<uint8_t>()) / 64.0f;
    if (kind % 16 == 0) {
      for (float& value : frame) value = in->PickValueInArray(kOdd);
    }
    for (size_t i = 0; i < repeat; ++i) frames.insert(frames.end(), frame.begin(), frame.end());
  }
  return frames;
}

void check_words(const std::vector<Word>& words, int64_t* end, int64_t frames) {
  for (const Word& word : words) {
    fuzz::expect(!word.text.empty(), "words with letters");
    fuzz::expect(word.confidence >= 0.0f && word.confidence <= 1.0f, "confidences from 0 to 1");
    fuzz::expect(!word.tokens.empty() && word.start_frame == word.tokens[0].start_frame &&
                     word.end_frame == word.tokens.back().end_frame,
                 "words as long as their tokens");
    for (const Token& token : word.tokens) {
      fuzz::expect(token.start_frame >= *end && token.end_frame >= token.start_frame,
                   "times in order");
      *end = token.end_frame;
    }
    fuzz::expect(*end <= frames, "times within the stream");
  }
}

// What a stream tells in the end, as numbers that can be compared.
struct Told {
  std::vector<Word> words;
  std::vector<double> scores;
  bool operator==(const Told& other) const {
    const auto same = [](const Word& a, const Word& b) {
      return a.text == b.text && a.start_frame == b.start_frame && a.end_frame == b.end_frame;
    };
    return scores == other.scores &&
           std::equal(words.begin(), words.end(), other.words.begin(), other.words.end(), same);
  }
};

void close_segment(SearchState* state, size_t n, int64_t end, Told* told) {
  for (Word& word : state->commit()) told->words.push_back(std::move(word));
  const std::vector<Hypothesis> best = state->finish(n);
  fuzz::expect(!best.empty() && best.size() <= n, "hypotheses, no more than asked for");
  for (const Hypothesis& one : best) {
    int64_t begin = end;
    check_words(one.words, &begin, state->frames());
    fuzz::expect(!std::isnan(one.score), "scores that are numbers");
    told->scores.push_back(one.score);
  }
  for (size_t i = 1; i < best.size(); ++i) {
    const double rounding = 1e-6 * std::abs(best[i].score);  // of float32, in which they are sorted
    fuzz::expect(best[i].score <= best[i - 1].score + rounding, "the best first");
  }
  told->words.insert(told->words.end(), best[0].words.begin(), best[0].words.end());
}

Told stream(const std::shared_ptr<const Search>& search, const std::vector<float>& frames,
            Input* in) {
  SearchState state(search);
  Told told;
  const auto tokens = static_cast<int64_t>(search->token_count());
  const int64_t count = static_cast<int64_t>(frames.size()) / tokens;
  int64_t end = 0;
  for (int64_t begin = 0; begin < count;) {
    const int64_t length = in ? in->ConsumeIntegralInRange<int64_t>(0, count - begin) : count;
    state.advance(frames.data() + begin * tokens, in && length == 0 ? 1 : length);
    begin += in && length == 0 ? 1 : length;
    const int what = in ? in->ConsumeIntegralInRange(0, 3) : 0;
    if (what == 1) {
      const std::vector<Word> words = state.commit();
      check_words(words, &end, state.frames());
      told.words.insert(told.words.end(), words.begin(), words.end());
    } else if (what == 2) {
      int64_t open = end;
      check_words(state.words(), &open, state.frames());
    }
  }
  close_segment(&state, 5, end, &told);
  state.advance(frames.data(), std::min<int64_t>(count, 3));  // a segment after that one
  state.finish(1);
  return told;
}

void run(Input* in) {
  SearchOptions options = make_options(in);
  const bool spaced = in->ConsumeIntegralInRange(0, 5) > 0;
  const Speller speller(make_tokens(in), 0, spaced ? 1 : kNoIndex);
  const SearchParts parts = make_parts(in, speller, &options);
  const auto search = std::make_shared<const Search>(speller, parts, options);
  const std::vector<float> frames = make_frames(in, speller.tokens().size());
  const auto tokens = static_cast<int64_t>(speller.tokens().size());
  check_frames(frames.data(), static_cast<int64_t>(frames.size()) / tokens, tokens);
  fuzz::expect(stream(search, frames, in) == stream(search, frames, nullptr),
               "the same words and scores however the frames are cut");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in(data, size);
  try {
    run(&in);
  } catch (const std::invalid_argument&) {
  }
  return 0;
}
