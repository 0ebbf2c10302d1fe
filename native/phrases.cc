#include "phrases.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace ds2 {

Phrases::Phrases(const std::vector<Phrase>& phrases, const Speller& speller)
    : speller_(speller), space_(speller.space()) {
  std::vector<int32_t> tokens;
  std::vector<Trie<Entry>::Sequence> spellings;
  for (const Phrase& phrase : phrases) {
    const auto item = static_cast<uint32_t>(spellings.size());
    const auto begin = static_cast<uint32_t>(tokens.size());
    speller_.spell_phrase(phrase.text, &tokens);
    if (!std::isfinite(phrase.boost)) {
      throw std::invalid_argument("the boost of the phrase " + quoted(phrase.text) +
                                  " must be a finite number, got " + std::to_string(phrase.boost));
    }
    spellings.push_back({begin, static_cast<uint32_t>(tokens.size()), item});
  }
  trie_.build(tokens, spellings, speller_.tokens().size(), [](int32_t, uint32_t) {});
  for (const auto& spelling : spellings) {
    add(&tokens[spelling.begin], tokens.data() + spelling.end, phrases[spelling.item].boost);
  }
  // Breadth first: a node's suffix is nearer to the root than the node, so it is linked before.
  for (int32_t node = 0; node < trie_.size(); ++node) {
    for (int32_t child = trie_.first_child(node); child < trie_.end_child(node); ++child) {
      link(node, child);
    }
  }
  for (int32_t node = 0; node < trie_.size(); ++node) find_rise(node);
}

// One phrase: credit grows with each of its tokens, and it is paid at its end.
void Phrases::add(const int32_t* begin, const int32_t* end, float boost) {
  int32_t node = kBetween;
  for (const int32_t* token = begin; token != end; ++token) {
    if (*token == space_) trie_[node].ends_word = true;
    node = trie_.child(node, *token);
    Entry& entry = trie_[node];
    entry.inside_word = *token != space_;
    if (!spaced() && token + 1 == end) break;  // paid at once
    const float share = static_cast<float>(token + 1 - begin) / static_cast<float>(end - begin);
    entry.credit = std::max(entry.credit, boost * share);
  }
  trie_[node].paid += boost;
  trie_[node].ends_word = true;
}

void Phrases::link(int32_t parent, int32_t node) {
  Entry& entry = trie_[node];
  const int32_t token = trie_.token(node);
  entry.suffix = parent == kBetween ? leave(token) : next(trie_[parent].suffix, token);
  if (entry.suffix != kOther) {
    const Entry& suffix = trie_[entry.suffix];
    entry.paid += suffix.paid;
    entry.ends_word |= suffix.ends_word;
    entry.credit = std::max(entry.credit, suffix.credit);
  }
}

void Phrases::find_rise(int32_t node) {
  Entry& entry = trie_[node];
  if (entry.suffix != kOther) entry.rise = trie_[entry.suffix].rise;
  for (int32_t child = trie_.first_child(node); child < trie_.end_child(node); ++child) {
    const Entry& next = trie_[child];
    const float paid = spaced() ? 0.0f : next.paid;  // with spaces, paid when the word is over
    entry.rise = std::max(entry.rise, paid + next.credit - entry.credit);
  }
}

}  // namespace ds2
