// What the hypotheses of a search share: the tree of prefixes, and when their tokens were spoken.
#pragma once

#include <cstdint>
#include <vector>

#include "language_model.h"
#include "vocabulary.h"

namespace ds2 {

// One token sequence, as a node of a tree. A sequence has at most one node, so that hypotheses
// which reach it in different ways meet there.
struct Prefix {
  int32_t parent = kNoIndex;
  int32_t first_child = kNoIndex;
  int32_t next_sibling = kNoIndex;
  int32_t token = kNoIndex;
  Place place;                   // of its text in the vocabulary
  int32_t boundary = kNoIndex;   // nearest prefix, itself included, that ends between two words
  int32_t words = 0;             // complete words
  float language = 0.0f;         // all of its score but p_ctc, for what is complete
  float word_language = 0.0f;    // the same for the word that ends here, once it was asked for
  bool asked = false;            // for that
  int32_t state = kNoIndex;      // of the language model, after what is complete
  int32_t word_state = kNoIndex; // after the word that ends here, once it was asked for
  int32_t slot = kNoIndex;       // where in the beam, while it is there
};

// The moment at which a token was the most probable, linked to that of the token before.
struct Moment {
  int32_t frame;   // of the segment
  int32_t previous;
  float log_prob;  // of the token
  float depth;     // log p of the prefix then, relative to the likeliest token of every frame
  float deficit;   // what was added to that since the moment of the token before
};

// Append-only arenas of prefixes, moments and language model states. A child always comes after
// its parent. What no hypothesis needs any more is removed by `compact`, which moves the rest.
class PrefixTree {
 public:
  // Forgets everything; afterwards there is only a root, between two words.
  void reset(int32_t root_token, const LmState& state);

  Prefix& operator[](int32_t node) { return prefixes_[node]; }
  const Prefix& operator[](int32_t node) const { return prefixes_[node]; }
  const Moment& moment(int32_t index) const { return moments_[index]; }
  const LmState& state(int32_t index) const { return states_[index]; }
  int32_t root() const { return root_; }
  size_t size() const { return prefixes_.size(); }
  size_t bytes() const;

  // The child of `parent` by `token`, kNoIndex if there is none yet.
  int32_t find(int32_t parent, int32_t token) const;
  int32_t add(int32_t parent, const Prefix& child);
  int32_t add_moment(const Moment& moment);
  int32_t add_state(const LmState& state);

  // The boundary one word before `boundary`; only for boundaries other than the root.
  int32_t previous_boundary(int32_t boundary) const {
    return prefixes_[prefixes_[boundary].parent].boundary;
  }
  // Makes `node` the root; prefixes that do not descend from it must not be used any more.
  void set_root(int32_t node);

  // Keeps only what leads from the root to `nodes`, and the chains of moments that run beside
  // these paths: two for each node, the first ones of all nodes, then the second ones. Rewrites
  // both lists to the new places. Takes the root's language score from all others; returns it.
  float compact(std::vector<int32_t>* nodes, std::vector<int32_t>* moments);
  // Is it worth while to compact?
  bool crowded() const { return prefixes_.size() + moments_.size() > limit_; }

 private:
  void mark(int32_t node, int32_t moment);
  void move_prefixes();
  int32_t move_state(int32_t state);
  void move_moments();

  std::vector<Prefix> prefixes_;
  std::vector<Moment> moments_;
  std::vector<LmState> states_;
  std::vector<LmState> kept_states_;
  std::vector<int32_t> new_prefix_, new_moment_;  // compact: first marks, then new places
  std::vector<int32_t> new_state_;
  int32_t root_ = 0;
  size_t limit_ = kSlack;
  static constexpr size_t kSlack = 2048;
};

}  // namespace ds2
