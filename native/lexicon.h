// The words that may be recognised, as a trie of token spellings.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "language_model.h"
#include "speller.h"
#include "trie.h"

namespace ds2 {

//   int node = Lexicon::kRoot;
//   for (int token : spelling) if ((node = lexicon.child(node, token)) == kNone) return;
//   if (lexicon.ends_word(node)) lexicon.word(node);      // its index in the language model
class Lexicon {
 public:
  static constexpr int32_t kRoot = 0;
  static constexpr int32_t kNone = -1;

  // `language_model` may be null: then words have no index and the outlook is 0 everywhere.
  // Throws std::invalid_argument for a word that the speller's tokens cannot spell, an empty list
  // of words, or words that `language_model` mostly does not know.
  Lexicon(const std::vector<std::string_view>& words, const Speller& speller,
          std::shared_ptr<const LanguageModel> language_model);

  int32_t child(int32_t node, int32_t token) const { return trie_.child(node, token); }
  uint64_t mask(int32_t node) const { return trie_.mask(node); }
  bool ends_word(int32_t node) const { return trie_[node].ends_word; }
  WordId word(int32_t node) const { return trie_[node].word; }
  // The largest log p(word) among the words that begin with this node's spelling.
  float outlook(int32_t node) const { return outlooks_[node]; }

  size_t size() const { return size_; }
  bool contains(std::string_view word) const;
  const Speller& speller() const { return speller_; }
  const LanguageModel* language_model() const { return language_model_.get(); }

 private:
  struct Entry {
    WordId word = kUnknownWord;
    bool ends_word = false;
  };

  void check_known(const std::vector<std::string_view>& words, size_t unknown) const;
  void find_outlooks();

  Speller speller_;
  Trie<Entry> trie_;
  std::vector<float> outlooks_;  // of the nodes: beside them, because most tokens fail by these
  std::shared_ptr<const LanguageModel> language_model_;
  size_t size_ = 0;
};

}  // namespace ds2
