// The words that may be recognised, as a trie of token spellings.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "language_model.h"

namespace ds2 {

// A flat, constant trie. Nodes are in breadth-first order, so a node's children are adjacent,
// sorted by token, and a bit mask finds one by counting bits.
//
//   int node = Lexicon::kRoot;
//   for (int token : spelling) if ((node = lexicon.child(node, token)) == kNone) return;
//   if (lexicon.ends_word(node)) lexicon.word(node);      // its index in the language model
class Lexicon {
 public:
  static constexpr int32_t kRoot = 0;
  static constexpr int32_t kNone = -1;

  // `language_model` may be null: then words have no index and the outlook is 0 everywhere.
  // Throws std::invalid_argument for a word that `tokens` cannot spell, an empty list of words, or
  // words that `language_model` mostly does not know.
  Lexicon(const std::vector<std::string_view>& words, const std::vector<std::string>& tokens,
          std::shared_ptr<const LanguageModel> language_model);

  int32_t child(int32_t node, int32_t token) const {
    const Node& n = nodes_[node];
    const uint64_t bit = uint64_t{1} << (token & 63);
    if (!(n.mask & bit)) return kNone;
    if (narrow_) return n.first_child + __builtin_popcountll(n.mask & (bit - 1));
    return search_children(n, token);
  }
  bool ends_word(int32_t node) const { return nodes_[node].ends_word; }
  WordId word(int32_t node) const { return nodes_[node].word; }
  // The largest log p(word) among the words that begin with this node's spelling.
  float outlook(int32_t node) const { return nodes_[node].outlook; }

  size_t size() const { return size_; }
  bool contains(std::string_view word) const;
  bool uses(int32_t token) const { return used_[token]; }
  size_t token_count() const { return used_.size(); }
  const LanguageModel* language_model() const { return language_model_.get(); }

 private:
  struct Node {
    uint64_t mask = 0;        // bit (token & 63) is set for each child's token
    int32_t first_child = 0;  // children follow one another, sorted by token
    uint32_t child_count = 0;
    WordId word = kUnknownWord;
    float outlook = kNoOutlook;
    bool ends_word = false;
  };
  static constexpr float kNoOutlook = -1e30f;

  class Speller;
  struct Spelling {
    uint32_t begin, end;  // into the letters of all words
    uint32_t word;        // into the list of words
  };

  void build(const std::vector<int32_t>& letters, std::vector<Spelling> spellings,
             const std::vector<std::string_view>& words);
  void check_known(const std::vector<std::string_view>& words, size_t unknown) const;
  void spread_outlook();
  int32_t search_children(const Node& node, int32_t token) const;

  std::vector<Node> nodes_;
  std::vector<int32_t> tokens_;  // tokens_[i] leads to nodes_[i]
  std::vector<bool> used_;       // per token: some word is spelled with it
  std::unordered_map<std::string, int32_t> characters_;
  std::shared_ptr<const LanguageModel> language_model_;
  size_t size_ = 0;
  bool narrow_;  // at most 64 tokens: the mask is exact
};

}  // namespace ds2
