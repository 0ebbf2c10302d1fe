#include "closed_vocabulary.h"

#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>

namespace ds2 {
namespace {

constexpr size_t kMostStates = 4'000'000;

}  // namespace

ClosedVocabulary::ClosedVocabulary(const std::vector<std::string>& phrases, const Speller& speller)
    : speller_(speller) {
  if (phrases.empty()) {
    throw std::invalid_argument("the closed vocabulary is empty: it needs at least 1 phrase");
  }
  std::vector<int32_t> tokens;
  std::vector<Phrases::Sequence> spellings;
  for (const std::string& phrase : phrases) {
    const auto begin = static_cast<uint32_t>(tokens.size());
    speller_.spell_phrase(phrase, &tokens);
    spellings.push_back({begin, static_cast<uint32_t>(tokens.size()), 0});
  }
  Phrases trie;
  trie.build(tokens, std::move(spellings), speller_.tokens().size(), [&](int32_t node, uint32_t) {
    trie[node] = true;
    ++size_;
  });
  build(trie);
}

// The places one token on. Where a phrase is over, another may begin.
ClosedVocabulary::Places ClosedVocabulary::go_on(const Phrases& phrases, const Places& from,
                                                 int32_t token) const {
  const int32_t space = speller_.space();
  std::set<int32_t> to;
  for (const int32_t place : from) {
    const int32_t child = phrases.child(place, token);
    if (child != Phrases::kNone) to.insert(child);
    const int32_t over = token == space ? place : space == kNoIndex ? child : Phrases::kNone;
    if (over != Phrases::kNone && phrases[over]) to.insert(Phrases::kRoot);
  }
  return Places(to.begin(), to.end());
}

void ClosedVocabulary::build(const Phrases& phrases) {
  std::map<Places, int32_t> numbers{{{Phrases::kRoot}, kStart}};
  std::vector<Places> places{{Phrases::kRoot}};
  for (size_t number = 0; number < places.size(); ++number) {
    const Places from = places[number];
    std::set<int32_t> tokens;
    State state;
    for (const int32_t place : from) {
      state.between |= place == Phrases::kRoot;
      state.ends_phrase |= phrases[place] != 0;
      for (int32_t child = phrases.first_child(place); child < phrases.end_child(place); ++child) {
        tokens.insert(phrases.token(child));
      }
    }
    if (state.ends_phrase && speller_.space() != kNoIndex) tokens.insert(speller_.space());
    state.first = static_cast<uint32_t>(edges_.size());
    state.count = static_cast<uint32_t>(tokens.size());
    for (const int32_t token : tokens) {
      state.mask |= uint64_t{1} << (token & 63);
      Places to = go_on(phrases, from, token);
      const auto next = static_cast<int32_t>(places.size());
      const auto [known, is_new] = numbers.emplace(std::move(to), next);
      if (is_new) places.push_back(known->first);
      edges_.push_back({token, known->second});
    }
    states_.push_back(state);
    if (places.size() > kMostStates) {
      throw std::invalid_argument("the phrases of the closed vocabulary overlap in too many ways");
    }
  }
}

int32_t ClosedVocabulary::next(int32_t state, int32_t token) const {
  const State& from = states_[state];
  const uint64_t bit = uint64_t{1} << (token & 63);
  if (!(from.mask & bit)) return kNone;
  const auto begin = edges_.begin() + from.first, end = begin + from.count;
  if (speller_.tokens().size() <= 64) return begin[count_bits(from.mask & (bit - 1))].state;
  const auto found = std::lower_bound(
      begin, end, token, [](const Edge& edge, int32_t wanted) { return edge.token < wanted; });
  return found != end && found->token == token ? found->state : kNone;
}

}  // namespace ds2
