// Tokens and words of any bytes: speller, lexicon, phrases and closed vocabulary.
#include <fuzzer/FuzzedDataProvider.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz.h"
#include "lexicon.h"
#include "phrases.h"
#include "closed_vocabulary.h"

namespace {

using namespace ds2;

// Letters, n-grams of letters, parts of UTF-8 characters, and whatever else.
std::string make_text(FuzzedDataProvider* in, size_t longest) {
  static const char* const kParts[] = {"a",        "b",            "ab",   "aab",
                                       "\xc3\xa4", "\xe4\xb8\x80", "\xe4", " "};
  std::string text;
  for (size_t parts = in->ConsumeIntegralInRange<size_t>(0, longest); parts > 0; --parts) {
    if (in->ConsumeBool()) {
      text += in->PickValueInArray(kParts);
    } else {
      text += in->ConsumeRandomLengthString(3);
    }
  }
  return text;
}

std::vector<std::string> make_texts(FuzzedDataProvider* in, size_t most, size_t longest) {
  std::vector<std::string> texts(in->ConsumeIntegralInRange<size_t>(0, most));
  for (std::string& text : texts) text = make_text(in, longest);
  return texts;
}

std::string spelled(const Speller& speller, const std::vector<int32_t>& spelling) {
  std::string text;
  for (const int32_t token : spelling) text += speller.tokens()[token];
  return text;
}

void use_lexicon(const std::vector<std::string>& words, const Speller& speller) {
  const std::vector<std::string_view> views(words.begin(), words.end());
  const Lexicon lexicon(views, speller, nullptr);
  for (const std::string& word : words) fuzz::expect(lexicon.contains(word), "each of its words");
}

void use_phrases(const std::vector<std::string>& texts, const Speller& speller,
                 FuzzedDataProvider* in) {
  std::vector<Phrase> phrases;
  for (const std::string& text : texts) {
    phrases.push_back({text, in->ConsumeFloatingPointInRange(-10.0f, 10.0f)});
  }
  const Phrases automaton(phrases, speller);
  int32_t state = Phrases::kBetween;
  const auto last = static_cast<int32_t>(speller.tokens().size()) - 1;
  while (in->remaining_bytes() > 0) {
    state = automaton.next(state, in->ConsumeIntegralInRange(0, last));
    fuzz::expect(state < static_cast<int32_t>(automaton.states()), "a state that exists");
    fuzz::expect(automaton.credit(state) >= 0.0f, "credit that is not negative");
    automaton.paid(state), automaton.ends_word(state), automaton.inside_word(state);
  }
}

void use_closed(const std::vector<std::string>& texts, const Speller& speller,
                FuzzedDataProvider* in) {
  const ClosedVocabulary closed(texts, speller);
  int32_t state = ClosedVocabulary::kStart;
  const auto last = static_cast<int32_t>(speller.tokens().size()) - 1;
  while (in->remaining_bytes() > 0) {
    const int32_t next = closed.next(state, in->ConsumeIntegralInRange(0, last));
    state = next == ClosedVocabulary::kNone ? ClosedVocabulary::kStart : next;
    closed.is_between(state), closed.ends_phrase(state);
  }
}

void run(FuzzedDataProvider* in) {
  std::vector<std::string> tokens = make_texts(in, 12, 2);
  if (in->ConsumeBool()) {  // a large set, whose tokens share bits
    for (int i = 10; i < 99; ++i) tokens.push_back(std::to_string(i));
  }
  const auto count = static_cast<int>(tokens.size());
  const Speller speller(std::move(tokens), in->ConsumeIntegralInRange(-1, count),
                        in->ConsumeIntegralInRange(-1, count));
  const std::string text = make_text(in, 6);
  std::vector<int32_t> spelling;
  if (speller.spell(text, &spelling).empty()) {
    fuzz::expect(spelled(speller, spelling) == text, "a spelling that reads as the word");
  }
  const std::vector<std::string> texts = make_texts(in, 10, 6);
  switch (in->ConsumeIntegralInRange(0, 2)) {
    case 0: return use_lexicon(texts, speller);
    case 1: return use_phrases(texts, speller, in);
    default: return use_closed(texts, speller, in);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider in(data, size);
  try {
    run(&in);
  } catch (const std::invalid_argument&) {
  }
  return 0;
}
