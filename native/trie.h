// Token sequences as a flat, constant trie.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace ds2 {

// Number of bits; the oldest processors of our kind have no instruction for it, and the compiler
// would call a function instead.
inline int count_bits(uint64_t bits) {
  bits -= bits >> 1 & 0x5555555555555555u;
  bits = (bits & 0x3333333333333333u) + (bits >> 2 & 0x3333333333333333u);
  bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0fu;
  return static_cast<int>(bits * 0x0101010101010101u >> 56);
}

// Nodes are in breadth-first order, so a node's children are adjacent, sorted by token, and a bit
// mask finds one by counting bits. Each node carries a `Value`.
//
//   int node = Trie<int>::kRoot;
//   for (int token : sequence) if ((node = trie.child(node, token)) == kNone) return;
//   trie[node]                                     // what the sequence stands for
template <class Value>
class Trie {
 public:
  static constexpr int32_t kRoot = 0;
  static constexpr int32_t kNone = -1;

  struct Sequence {
    uint32_t begin, end;  // into the tokens of all sequences
    uint32_t item;        // whose sequence it is
  };

  // Calls ended(node, item) for the first item of each node where sequences end.
  template <class Ended>
  void build(const std::vector<int32_t>& tokens, std::vector<Sequence> sequences,
             size_t token_count, const Ended& ended) {
    narrow_ = token_count <= 64;
    sort(tokens, &sequences);
    struct Range {
      size_t low, high;  // the sequences below a node
      uint32_t depth;
    };
    std::vector<Range> ranges{{0, sequences.size(), 0}};  // one per node
    nodes_.emplace_back();
    tokens_.push_back(kNone);
    for (size_t node = 0; node < ranges.size(); ++node) {
      auto [low, high, depth] = ranges[node];
      const auto ends_here = [&, depth = depth](size_t i) {
        return sequences[i].end - sequences[i].begin == depth;
      };
      if (low < high && ends_here(low)) {
        ended(static_cast<int32_t>(node), sequences[low].item);
        while (low < high && ends_here(low)) ++low;  // the same sequence twice
      }
      nodes_[node].first_child = static_cast<int32_t>(nodes_.size());
      while (low < high) {
        const int32_t token = tokens[sequences[low].begin + depth];
        size_t end = low;
        while (end < high && tokens[sequences[end].begin + depth] == token) ++end;
        nodes_[node].mask |= uint64_t{1} << (token & 63);
        ++nodes_[node].child_count;
        nodes_.emplace_back();
        tokens_.push_back(token);
        ranges.push_back({low, end, depth + 1});
        low = end;
      }
    }
  }

  int32_t child(int32_t node, int32_t token) const {
    const Node& n = nodes_[node];
    const uint64_t bit = uint64_t{1} << (token & 63);
    if (!(n.mask & bit)) return kNone;
    if (narrow_) return n.first_child + count_bits(n.mask & (bit - 1));
    return search_children(n, token);
  }

  // Bit (token & 63) is set for every token that leads on from the node.
  uint64_t mask(int32_t node) const { return nodes_[node].mask; }

  Value& operator[](int32_t node) { return nodes_[node].value; }
  const Value& operator[](int32_t node) const { return nodes_[node].value; }
  int32_t size() const { return static_cast<int32_t>(nodes_.size()); }
  // A node's children are first_child(node) ... end_child(node) - 1; token(child) leads there.
  int32_t first_child(int32_t node) const { return nodes_[node].first_child; }
  int32_t end_child(int32_t node) const {
    return nodes_[node].first_child + static_cast<int32_t>(nodes_[node].child_count);
  }
  int32_t token(int32_t node) const { return tokens_[node]; }

 private:
  struct Node {
    uint64_t mask = 0;        // bit (token & 63) is set for each child's token
    int32_t first_child = 0;  // children follow one another, sorted by token
    uint32_t child_count = 0;
    Value value{};
  };

  static void sort(const std::vector<int32_t>& tokens, std::vector<Sequence>* sequences) {
    const auto less = [&](const Sequence& a, const Sequence& b) {
      return std::lexicographical_compare(tokens.begin() + a.begin, tokens.begin() + a.end,
                                          tokens.begin() + b.begin, tokens.begin() + b.end);
    };
    if (!std::is_sorted(sequences->begin(), sequences->end(), less)) {
      std::stable_sort(sequences->begin(), sequences->end(), less);
    }
  }

  int32_t search_children(const Node& node, int32_t token) const {
    const auto begin = tokens_.begin() + node.first_child;
    const auto end = begin + node.child_count;
    const auto found = std::lower_bound(begin, end, token);
    return found != end && *found == token ? static_cast<int32_t>(found - tokens_.begin()) : kNone;
  }

  std::vector<Node> nodes_;
  std::vector<int32_t> tokens_;  // tokens_[i] leads to nodes_[i]
  bool narrow_ = true;           // at most 64 tokens: the masks are exact
};

}  // namespace ds2
