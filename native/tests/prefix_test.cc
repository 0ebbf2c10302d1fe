#include "prefix.h"

#include <doctest/doctest.h>

#include <random>
#include <vector>

using namespace ds2;

namespace {

LmState state_of(unsigned char mark) {
  LmState state{};
  state.memory[0] = mark;
  return state;
}

// A node below `parent`, one word longer where `boundary` is true.
int32_t grow(PrefixTree* tree, int32_t parent, int32_t token, bool boundary) {
  Prefix child;
  child.token = token;
  child.words = (*tree)[parent].words + boundary;
  child.language = (*tree)[parent].language - 1.0f;
  child.state = (*tree)[parent].state;
  child.boundary = boundary ? static_cast<int32_t>(tree->size()) : (*tree)[parent].boundary;
  return tree->add(parent, child);
}

int32_t add_moment(PrefixTree* tree, int32_t frame, int32_t previous) {
  Moment moment{};
  moment.frame = frame;
  moment.previous = previous;
  moment.log_prob = static_cast<float>(-frame);
  return tree->add_moment(moment);
}

std::vector<int32_t> tokens_to(const PrefixTree& tree, int32_t node) {
  std::vector<int32_t> tokens;
  for (; node != tree.root(); node = tree[node].parent) tokens.push_back(tree[node].token);
  return tokens;
}

std::vector<float> chain(const PrefixTree& tree, int32_t moment) {
  std::vector<float> log_probs;
  for (; moment != kNoIndex; moment = tree.moment(moment).previous) {
    log_probs.push_back(tree.moment(moment).log_prob);
  }
  return log_probs;
}

}  // namespace

TEST_CASE("a new tree is a root between two words") {
  PrefixTree tree;
  tree.reset(1, state_of(7));
  CHECK(tree.size() == 1);
  CHECK(tree[tree.root()].boundary == tree.root());
  CHECK(tree.state(tree[tree.root()].state).memory[0] == 7);
  CHECK(tree.find(tree.root(), 3) == kNoIndex);
}

TEST_CASE("children are found by their token, each under its own parent") {
  PrefixTree tree;
  tree.reset(1, state_of(0));
  const int32_t a = grow(&tree, tree.root(), 2, false);
  const int32_t b = grow(&tree, tree.root(), 3, false);
  const int32_t ab = grow(&tree, a, 3, false);
  CHECK(tree.find(tree.root(), 2) == a);
  CHECK(tree.find(tree.root(), 3) == b);
  CHECK(tree.find(a, 3) == ab);
  CHECK(tree.find(b, 3) == kNoIndex);
}

TEST_CASE("boundaries lead back word by word") {
  PrefixTree tree;
  tree.reset(1, state_of(0));
  const int32_t a = grow(&tree, tree.root(), 2, false);
  const int32_t first = grow(&tree, a, 1, true);
  const int32_t b = grow(&tree, first, 3, false);
  const int32_t second = grow(&tree, b, 1, true);
  CHECK(tree[b].boundary == first);
  CHECK(tree.previous_boundary(second) == first);
  CHECK(tree.previous_boundary(first) == tree.root());
}

TEST_CASE("compaction keeps the paths and the moments of what is named, and nothing else") {
  std::mt19937 random(11);
  for (int round = 0; round < 200; ++round) {
    PrefixTree tree;
    tree.reset(1, state_of(1));
    std::vector<int32_t> nodes{tree.root()}, moments{kNoIndex};
    for (int i = 0; i < 60; ++i) {
      const size_t parent = random() % nodes.size();
      const auto token = static_cast<int32_t>(2 + i);
      const bool boundary = random() % 3 == 0;
      nodes.push_back(grow(&tree, nodes[parent], token, boundary));
      moments.push_back(add_moment(&tree, i, moments[parent]));
    }
    // A new root somewhere: what is kept descends from it.
    const int32_t root = nodes[random() % 10];
    std::vector<int32_t> kept, chains;
    for (size_t i = 0; i < nodes.size(); ++i) {
      int32_t node = nodes[i];
      while (node > root) node = tree[node].parent;
      if (node == root && random() % 2) kept.push_back(nodes[i]), chains.push_back(moments[i]);
    }
    if (kept.empty()) continue;
    tree.set_root(root);
    std::vector<std::vector<int32_t>> paths;
    std::vector<std::vector<float>> spoken;
    std::vector<float> languages;
    for (size_t i = 0; i < kept.size(); ++i) {
      paths.push_back(tokens_to(tree, kept[i]));
      spoken.push_back(chain(tree, chains[i]));
      spoken.back().resize(paths.back().size());  // moments before the root are forgotten
      languages.push_back(tree[kept[i]].language);
    }
    std::vector<int32_t> both = chains;
    both.insert(both.end(), chains.begin(), chains.end());
    const size_t before = tree.size();
    const float rebase = tree.compact(&kept, &both);
    CHECK(tree.size() <= before);
    CHECK(tree.root() == 0);
    CHECK(tree[tree.root()].parent == kNoIndex);
    for (size_t i = 0; i < kept.size(); ++i) {
      CHECK(tokens_to(tree, kept[i]) == paths[i]);
      CHECK(chain(tree, both[i]) == spoken[i]);
      CHECK(chain(tree, both[kept.size() + i]) == spoken[i]);
      CHECK(tree[kept[i]].language == doctest::Approx(languages[i] - rebase));
      CHECK(tree.state(tree[kept[i]].state).memory[0] == 1);
      CHECK(tree[kept[i]].boundary <= kept[i]);
    }
    // Twice is once.
    const size_t size = tree.size();
    CHECK(tree.compact(&kept, &both) == 0.0f);
    CHECK(tree.size() == size);
  }
}
