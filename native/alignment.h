// When the words of a known text were spoken: the most likely path through CTC's lattice.
//
// The lattice is that of the text, with a gap before each word and one after the last. In a gap the
// model may hear silence, a space, or, at a cost for each frame, something that the text lacks. Words
// that were not spoken are left out, at a cost of their own. So text and recording need not agree.
//
// The path is searched forwards and traced back. What can be traced is kept for a few frames only:
// the search is repeated from checkpoints, the last block of frames first. Memory is then a small
// part of frames times tokens, and the path the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace ds2 {

struct AlignmentOptions {
  float foreign = 0.7f;    // nats for a frame of a gap in which nothing quiet was heard
  float leave_out = 8.0f;  // nats for words in a row that are left out
  float left_token = 0.1f;  // nats for each token of them
  float beam = 150.0f;     // nats below the best within which a path is followed
};

struct AlignmentText {
  std::vector<int32_t> tokens;  // columns of the scores, all words one after the other
  std::vector<int32_t> starts;  // of each word in `tokens`, and the end of the last one
  int32_t blank = 0;            // column, of a gap
  int32_t inner = 0;            // column, of a blank inside a word: it may cost more
  int32_t space = -1;           // column; -1: the script writes none
};

// Where the path is in each frame: 2 * p in the gap or blank before token p, 2 * p + 1 in token p.
//
// `scores`: log probabilities less the highest of their frame, shape = (frames, columns); none is
// above 0 nor NaN. `after_block` is called after every thousand frames or so, twice; what it throws
// ends the search. Throws std::invalid_argument if the text is malformed.
std::vector<int32_t> align(const float* scores, int64_t frames, int32_t columns,
                           const AlignmentText& text, const AlignmentOptions& options,
                           const std::function<void()>& after_block = [] {});

}  // namespace ds2
