// What may be spelled, and what it brings: the part of the search that differs between lexicon,
// open and closed vocabulary. The inner loop is compiled for each.
#pragma once

#include <algorithm>
#include <cstdint>

#include "closed_vocabulary.h"
#include "lexicon.h"
#include "phrases.h"

namespace ds2 {

// Where a text has arrived: in the lexicon (or closed vocabulary), and in the phrases.
struct Place {
  int32_t spelling = 0;
  int32_t phrase = Phrases::kBetween;
};

constexpr int32_t kOutside = -2;  // spelling of a word that the vocabulary does not have

// A vocabulary has these members; gains are natural logarithms added to the score.
//
//   listen(from, token, &to)  the place after a token other than the space, in the phrases only
//   spell(from, token, &to)   the same in the vocabulary, after listen(); false: not allowed
//   mask(from)                bit (token & 63) is set for all tokens that `spell` allows
//   ends_word(place)          may a word end here?
//   after_word(place)         the place after the space that ends it
//   token_gain(from, to)      gain of a token, besides language model and beta
//   word_gain(place)          gain of a word that ends here, besides language model and beta
//   outlook(place)            the most that the begun word can still bring
//   rise(from)                the most that one token can add to outlook and token gain
//   is_boundary(place)        after a word: may what comes before be told without what follows?
//   word(place)               index of the word that ends here, for the language model
//   completes(place)          may the segment end here? Then end_gain(place) instead of word_gain
//   credit(place)             the part of the outlook that phrases which are begun lend
//   may_gain(place)           may a token lead to credit?
//   word_boost(place)         the part of word_gain that phrases which end here bring
//   token_boost(place)        the same of token_gain
//   kHasPhrases               some of these are not 0
//   kScoresTokens             the language model's words are the tokens
//   kHasOutside               kOutside is a place of its own

// No lexicon: any sequence of tokens.
struct AnyWords {
  static constexpr bool kScoresTokens = false, kHasOutside = false, kHasPhrases = false;
  void listen(const Place&, int32_t, Place*) const {}
  bool spell(const Place&, int32_t, Place*) const { return true; }
  uint64_t mask(const Place&) const { return ~uint64_t{0}; }
  bool ends_word(const Place&) const { return true; }
  Place after_word(const Place& place) const { return place; }
  float token_gain(const Place&, const Place&) const { return 0.0f; }
  float word_gain(const Place&) const { return 0.0f; }
  float outlook(const Place&) const { return 0.0f; }
  float rise(const Place&) const { return 0.0f; }
  bool is_boundary(const Place&) const { return true; }
  WordId word(const Place&) const { return kUnknownWord; }
  bool completes(const Place&) const { return true; }
  float end_gain(const Place&) const { return 0.0f; }
  float credit(const Place&) const { return 0.0f; }
  bool may_gain(const Place&) const { return false; }
  float word_boost(const Place&) const { return 0.0f; }
  float token_boost(const Place&) const { return 0.0f; }
};

// The same with a language model of tokens.
struct ScoredTokens : AnyWords {
  static constexpr bool kScoresTokens = true;
};

// The words of a lexicon only. What was begun outside of it, when phrases or options allowed that,
// stays and leads nowhere.
struct LexiconWords : AnyWords {
  LexiconWords(const Lexicon& lexicon, float alpha) : lexicon(lexicon), alpha(alpha) {}

  static bool is_inside(const Place& place) { return place.spelling != kOutside; }
  bool spell(const Place& from, int32_t token, Place* to) const {
    return (to->spelling = lexicon.child(from.spelling, token)) != Lexicon::kNone;
  }
  uint64_t mask(const Place& from) const {
    return is_inside(from) ? lexicon.mask(from.spelling) : 0;
  }
  bool ends_word(const Place& place) const {
    return is_inside(place) && lexicon.ends_word(place.spelling);
  }
  bool completes(const Place& place) const { return ends_word(place); }
  Place after_word(const Place&) const { return {}; }
  float outlook(const Place& place) const {
    return is_inside(place) ? alpha * lexicon.outlook(place.spelling) : 0.0f;
  }
  WordId word(const Place& place) const {
    return is_inside(place) ? lexicon.word(place.spelling) : kUnknownWord;
  }

  const Lexicon& lexicon;
  float alpha;
};

// The words of a lexicon, and any other at a cost.
struct OpenWords : AnyWords {
  static constexpr bool kHasOutside = true;
  // `unknown`: alpha log p(unknown word), without context.
  OpenWords(const Lexicon& lexicon, float alpha, float unknown, float cost)
      : lexicon(lexicon), alpha(alpha), cost(cost), outside(unknown - cost) {}

  bool spell(const Place& from, int32_t token, Place* to) const {
    const int32_t child =
        from.spelling == kOutside ? Lexicon::kNone : lexicon.child(from.spelling, token);
    to->spelling = child == Lexicon::kNone ? kOutside : child;
    return true;
  }
  bool knows(const Place& place) const {
    return place.spelling != kOutside && lexicon.ends_word(place.spelling);
  }
  Place after_word(const Place&) const { return {}; }
  float word_gain(const Place& place) const { return knows(place) ? 0.0f : -cost; }
  float end_gain(const Place& place) const { return word_gain(place); }
  float outlook(const Place& place) const {
    if (place.spelling == kOutside) return outside;
    return std::max(alpha * lexicon.outlook(place.spelling), outside);  // never grows in a word
  }
  WordId word(const Place& place) const {
    return place.spelling == kOutside ? kUnknownWord : lexicon.word(place.spelling);
  }

  const Lexicon& lexicon;
  float alpha, cost, outside;
};

// Whole phrases of a list only; with a finite `cost`, unknown words between them.
struct ClosedWords : AnyWords {
  static constexpr bool kHasOutside = true;
  ClosedWords(const ClosedVocabulary& vocabulary, float cost)
      : vocabulary(vocabulary), cost(cost) {}

  bool allows_unknown() const { return cost < kNever; }
  bool spaced() const { return vocabulary.speller().space() != kNoIndex; }
  bool spell(const Place& from, int32_t token, Place* to) const {
    to->spelling = next(from.spelling, token);
    if (to->spelling == ClosedVocabulary::kNone) to->spelling = kOutside;
    return to->spelling != kOutside || allows_unknown();
  }
  // Without spaces, a phrase may begin after any unknown token.
  int32_t next(int32_t spelling, int32_t token) const {
    if (spelling != kOutside) return vocabulary.next(spelling, token);
    return spaced() ? ClosedVocabulary::kNone : vocabulary.next(ClosedVocabulary::kStart, token);
  }
  bool ends_word(const Place& place) const { return goes_on(place) || allows_unknown(); }
  Place after_word(const Place& place) const {
    if (!goes_on(place)) return {ClosedVocabulary::kStart, 0};
    return {vocabulary.next(place.spelling, vocabulary.speller().space()), 0};
  }
  bool goes_on(const Place& place) const {
    return place.spelling != kOutside &&
           vocabulary.next(place.spelling, vocabulary.speller().space()) != ClosedVocabulary::kNone;
  }
  // The cost is due where no phrase goes on: inside a word, or at its end.
  float token_gain(const Place& from, const Place& to) const {
    return to.spelling == kOutside && (from.spelling != kOutside || !spaced()) ? -cost : 0.0f;
  }
  float word_gain(const Place& place) const {
    return place.spelling == kOutside || goes_on(place) ? 0.0f : -cost;
  }
  bool is_boundary(const Place& place) const {
    return place.spelling == kOutside || vocabulary.is_between(place.spelling);
  }
  bool completes(const Place& place) const { return ends_phrase(place) || allows_unknown(); }
  float end_gain(const Place& place) const {
    return place.spelling == kOutside || ends_phrase(place) ? 0.0f : -cost;
  }
  bool ends_phrase(const Place& place) const {
    return place.spelling != kOutside && vocabulary.ends_phrase(place.spelling);
  }

  static constexpr float kNever = 1e9f;
  const ClosedVocabulary& vocabulary;
  float cost;
};

// Any of the above, and the words of phrases; phrases bring their boosts.
template <class Words>
struct WithPhrases {
  static constexpr bool kScoresTokens = Words::kScoresTokens, kHasOutside = true;
  static constexpr bool kHasPhrases = true;

  // `unknown`: alpha log p(unknown word), without context.
  WithPhrases(const Words& words, const Phrases& phrases, float unknown)
      : words(words), phrases(phrases), unknown(unknown) {}

  bool has(const Place& place) const { return Words::kHasOutside || place.spelling != kOutside; }
  void listen(const Place& from, int32_t token, Place* to) const {
    to->phrase = phrases.next(from.phrase, token);
  }
  bool spell(const Place& from, int32_t token, Place* to) const {
    if (has(from) && words.spell(from, token, to)) return true;
    to->spelling = kOutside;
    return phrases.inside_word(to->phrase);
  }
  uint64_t mask(const Place& from) const {
    return may_gain(from) || !has(from) ? ~uint64_t{0} : words.mask(from);
  }
  bool ends_word(const Place& place) const {
    return (has(place) && words.ends_word(place)) || phrases.ends_word(place.phrase);
  }
  Place after_word(const Place& place) const {
    return {0, phrases.next(place.phrase, phrases.speller().space())};
  }
  float credit(const Place& place) const { return phrases.credit(place.phrase); }
  bool may_gain(const Place& place) const { return place.phrase != Phrases::kOther; }
  float word_boost(const Place& place) const { return phrases.paid(place.phrase); }
  float token_boost(const Place& to) const {
    return phrases.speller().space() == kNoIndex ? phrases.paid(to.phrase) : 0.0f;
  }
  float token_gain(const Place&, const Place& to) const { return token_boost(to); }
  float word_gain(const Place& place) const {
    const bool wanted = phrases.ends_word(place.phrase);
    return (wanted ? 0.0f : words.word_gain(place)) + word_boost(place);
  }
  float outlook(const Place& place) const {
    float outlook = has(place) ? words.outlook(place) : unknown;
    if (may_gain(place)) outlook = std::max(outlook, unknown);  // it may yet leave the lexicon
    return outlook + credit(place);
  }
  float rise(const Place& from) const { return phrases.rise(from.phrase); }
  bool is_boundary(const Place&) const { return true; }
  WordId word(const Place& place) const { return has(place) ? words.word(place) : kUnknownWord; }
  bool completes(const Place& place) const { return ends_word(place); }
  float end_gain(const Place& place) const { return word_gain(place); }

  Words words;
  const Phrases& phrases;
  float unknown;
};

}  // namespace ds2
