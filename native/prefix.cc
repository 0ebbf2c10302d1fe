#include "prefix.h"

namespace ds2 {

void PrefixTree::reset(int32_t root_token, const LmState& state) {
  prefixes_.clear();
  moments_.clear();
  states_.assign(1, state);
  limit_ = kSlack;
  root_ = 0;
  Prefix root;
  root.token = root_token;
  root.boundary = 0;
  root.state = 0;
  prefixes_.push_back(root);
}

size_t PrefixTree::bytes() const {
  return prefixes_.capacity() * sizeof(Prefix) + moments_.capacity() * sizeof(Moment) +
         (states_.capacity() + kept_states_.capacity()) * sizeof(LmState) +
         (new_prefix_.capacity() + new_moment_.capacity() + new_state_.capacity()) *
             sizeof(int32_t);
}

int32_t PrefixTree::find(int32_t parent, int32_t token) const {
  int32_t node = prefixes_[parent].first_child;
  while (node != kNoIndex && prefixes_[node].token != token) node = prefixes_[node].next_sibling;
  return node;
}

int32_t PrefixTree::add(int32_t parent, const Prefix& child) {
  const auto node = static_cast<int32_t>(prefixes_.size());
  prefixes_.push_back(child);
  prefixes_[node].parent = parent;
  prefixes_[node].next_sibling = prefixes_[parent].first_child;
  prefixes_[parent].first_child = node;
  return node;
}

int32_t PrefixTree::add_moment(const Moment& moment) {
  moments_.push_back(moment);
  return static_cast<int32_t>(moments_.size()) - 1;
}

int32_t PrefixTree::add_state(const LmState& state) {
  states_.push_back(state);
  return static_cast<int32_t>(states_.size()) - 1;
}

void PrefixTree::set_root(int32_t node) {
  prefixes_[node].parent = kNoIndex;
  const int32_t old_boundary = prefixes_[node].boundary;
  if (old_boundary != node) {  // cut inside a word: its end becomes a boundary
    for (size_t i = node; i < prefixes_.size(); ++i) {
      if (prefixes_[i].boundary == old_boundary) prefixes_[i].boundary = node;
    }
    prefixes_[node].asked = true;
    prefixes_[node].word_language = 0.0f;
    prefixes_[node].word_state = prefixes_[node].state;
  }
  root_ = node;
}

void PrefixTree::mark(int32_t node, int32_t moment) {
  // Both chains have one link for each token after the root; the moments are cut there.
  while (node != root_ && moment != kNoIndex) {
    if (new_prefix_[node] != kNoIndex && new_moment_[moment] != kNoIndex) return;
    new_prefix_[node] = new_moment_[moment] = 0;
    node = prefixes_[node].parent;
    if (node == root_) moments_[moment].previous = kNoIndex;
    moment = moments_[moment].previous;
  }
}

void PrefixTree::move_prefixes() {
  kept_states_.clear();
  new_state_.assign(states_.size(), kNoIndex);
  std::vector<int32_t>& place = new_prefix_;
  const float rebase = prefixes_[root_].language;
  int32_t count = 0;
  for (size_t i = root_; i < prefixes_.size(); ++i) {
    if (place[i] == kNoIndex) continue;
    place[i] = count;
    Prefix moved = prefixes_[i];
    moved.first_child = moved.next_sibling = kNoIndex;
    moved.boundary = place[moved.boundary];
    moved.language -= rebase;
    moved.state = move_state(moved.state);
    moved.word_state = move_state(moved.word_state);
    if (count > 0) {
      moved.parent = place[moved.parent];
      Prefix& parent = prefixes_[moved.parent];
      moved.next_sibling = parent.first_child;
      parent.first_child = count;
    }
    prefixes_[count++] = moved;
  }
  prefixes_.resize(count);
  states_.swap(kept_states_);
  root_ = 0;
}

// Prefixes of one word share a state.
int32_t PrefixTree::move_state(int32_t state) {
  if (state == kNoIndex) return kNoIndex;
  int32_t& place = new_state_[state];
  if (place == kNoIndex) {
    place = static_cast<int32_t>(kept_states_.size());
    kept_states_.push_back(states_[state]);
  }
  return place;
}

void PrefixTree::move_moments() {
  int32_t count = 0;
  for (size_t i = 0; i < moments_.size(); ++i) {
    if (new_moment_[i] == kNoIndex) continue;
    new_moment_[i] = count;
    Moment moved = moments_[i];
    if (moved.previous != kNoIndex) moved.previous = new_moment_[moved.previous];
    moments_[count++] = moved;
  }
  moments_.resize(count);
}

float PrefixTree::compact(std::vector<int32_t>* nodes, std::vector<int32_t>* moments) {
  new_prefix_.assign(prefixes_.size(), kNoIndex);
  new_moment_.assign(moments_.size(), kNoIndex);
  new_prefix_[root_] = 0;
  const size_t count = nodes->size();
  for (size_t i = 0; i < count; ++i) {
    mark((*nodes)[i], (*moments)[i]);
    mark((*nodes)[i], (*moments)[count + i]);
  }
  const float rebase = prefixes_[root_].language;
  const int32_t old_root = root_;
  move_prefixes();
  move_moments();
  for (size_t i = 0; i < count; ++i) {
    const bool at_root = (*nodes)[i] == old_root;
    (*nodes)[i] = new_prefix_[(*nodes)[i]];
    for (size_t chain : {i, count + i}) {
      int32_t& moment = (*moments)[chain];
      moment = at_root || moment == kNoIndex ? kNoIndex : new_moment_[moment];
    }
  }
  limit_ = 2 * (prefixes_.size() + moments_.size()) + kSlack;
  return rebase;
}

}  // namespace ds2
