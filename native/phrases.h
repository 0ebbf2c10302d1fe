// Phrases that a stream listens for: contextual biasing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "speller.h"
#include "trie.h"

namespace ds2 {

struct Phrase {
  std::string text;  // words with spaces between them
  float boost;       // nats that each occurrence adds to a hypothesis; negative: is avoided
};

// Follows a text token by token and tells which phrases it has just completed (Aho and Corasick,
// 1975). A phrase begins and ends where words do, so an occurrence is paid once, when it is over;
// until then a state has `credit` for what is begun, which is gone when the text goes on otherwise.
//
//   int state = Phrases::kBetween;
//   for (int token : text) { state = phrases.next(state, token); ... phrases.credit(state) }
//   if (word is over) score += phrases.paid(state);
//
// Without a space token, every token is a word.
class Phrases {
 public:
  static constexpr int32_t kBetween = 0;  // after a word, within no phrase
  static constexpr int32_t kOther = -1;   // inside a word that belongs to no phrase

  // Throws std::invalid_argument for a phrase that has no words or that the tokens cannot spell,
  // or a boost that is no finite number.
  Phrases(const std::vector<Phrase>& phrases, const Speller& speller);

  int32_t next(int32_t state, int32_t token) const {
    for (; state != kOther; state = trie_[state].suffix) {
      const int32_t child = trie_.child(state, token);
      if (child != Trie<Entry>::kNone) return child;
    }
    return leave(token);
  }
  // Are the letters since the last space the beginning of a phrase's word, or all of it?
  bool inside_word(int32_t state) const { return state > kBetween && trie_[state].inside_word; }
  bool ends_word(int32_t state) const { return state > kBetween && trie_[state].ends_word; }
  // The boosts of all phrases that end with the word which ends here.
  float paid(int32_t state) const { return state > kBetween ? trie_[state].paid : 0.0f; }
  // The best boost among phrases that are begun, as far as they are spelled. Never negative.
  float credit(int32_t state) const { return state > kBetween ? trie_[state].credit : 0.0f; }
  // The most that the next token can add to credit, or to credit and what is paid.
  float rise(int32_t state) const { return state >= kBetween ? trie_[state].rise : 0.0f; }
  size_t states() const { return static_cast<size_t>(trie_.size()); }
  const Speller& speller() const { return speller_; }

 private:
  struct Entry {
    int32_t suffix = kOther;  // of the phrases that began later, the one spelled furthest
    float paid = 0.0f, credit = 0.0f, rise = 0.0f;
    bool inside_word = false, ends_word = false;
  };

  bool spaced() const { return space_ != kNoIndex; }
  // Where no phrase goes on with this token: inside another word, or between words again.
  int32_t leave(int32_t token) const {
    return spaced() && token != space_ ? kOther : kBetween;
  }
  void add(const int32_t* begin, const int32_t* end, float boost);
  void link(int32_t parent, int32_t node);
  void find_rise(int32_t node);

  Speller speller_;
  int32_t space_;
  Trie<Entry> trie_;
};

}  // namespace ds2
