// Text to tokens.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ds2 {

constexpr int32_t kNoIndex = -1;

// Spells with the longest token at each place, from the left, that lets the rest be spelled: the
// non-overlapping n-grams of Deep Speech 2 (section 3.6). Tokens of one character are the plain
// case. The blank and the space token spell nothing.
class Speller {
 public:
  // `space` is kNoIndex where there is none. Throws std::invalid_argument.
  Speller(std::vector<std::string> tokens, int blank, int space);

  // Appends the spelling of `word`; returns the first character that stops it, or nothing.
  std::string_view spell(std::string_view word, std::vector<int32_t>* spelling) const;
  // Appends the spelling of words with spaces between them, which become the space token, or
  // nothing where there is none. Throws std::invalid_argument where there are no words, or one that
  // cannot be spelled.
  void spell_phrase(std::string_view phrase, std::vector<int32_t>* spelling) const;

  // Is every token one character?
  bool is_plain() const { return plain_; }
  bool operator==(const Speller& other) const {
    return tokens_ == other.tokens_ && blank_ == other.blank_ && space_ == other.space_;
  }
  const std::vector<std::string>& tokens() const { return tokens_; }
  int blank() const { return blank_; }
  int space() const { return space_; }  // kNoIndex: there is none

 private:
  int32_t find(std::string_view text) const;
  std::string_view spell_longest(std::string_view word, std::vector<int32_t>* spelling) const;

  std::vector<std::string> tokens_;
  int blank_, space_;
  std::unordered_map<std::string, int32_t> indices_;
  int32_t ascii_[128];        // tokens of one byte
  size_t longest_ = 0;        // bytes of the longest token
  bool plain_ = true;         // every token is one character
};

// 'text', for messages: they end at a zero byte.
std::string quoted(std::string_view text);

}  // namespace ds2
