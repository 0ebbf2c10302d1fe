// A list of phrases as the only possible output.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "speller.h"
#include "trie.h"

namespace ds2 {

// Accepts any sequence of whole phrases. A state stands for all places in phrases where the same
// text may have arrived (subset construction), so a text has one state, however it is divided.
//
//   int state = ClosedVocabulary::kStart;
//   for (int token : text) if ((state = vocabulary.next(state, token)) == kNone) return;
//
// A text is complete between phrases only: where `is_between(state)`.
class ClosedVocabulary {
 public:
  static constexpr int32_t kStart = 0;  // between phrases, before all else
  static constexpr int32_t kNone = -1;  // no phrase goes on like this

  // Throws std::invalid_argument for an empty list, a phrase that has no words or that the tokens
  // cannot spell, or phrases that overlap in too many ways.
  ClosedVocabulary(const std::vector<std::string>& phrases, const Speller& speller);

  int32_t next(int32_t state, int32_t token) const;
  // May a phrase begin here? Always after a space or, where there is none, after a token.
  bool is_between(int32_t state) const { return states_[state].between; }
  // Does the last word of a phrase end here, without the space after it?
  bool ends_phrase(int32_t state) const { return states_[state].ends_phrase; }
  size_t size() const { return size_; }
  const Speller& speller() const { return speller_; }

 private:
  using Phrases = Trie<char>;  // a node's value: does a phrase end here?
  using Places = std::vector<int32_t>;
  struct State {
    uint64_t mask = 0;       // bit (token & 63) is set for each token that goes on
    uint32_t first = 0, count = 0;  // its edges, sorted by token
    bool between = false, ends_phrase = false;
  };
  struct Edge {
    int32_t token, state;
  };

  void build(const Phrases& phrases);
  Places go_on(const Phrases& phrases, const Places& from, int32_t token) const;

  Speller speller_;
  std::vector<State> states_;
  std::vector<Edge> edges_;
  size_t size_ = 0;
};

}  // namespace ds2
