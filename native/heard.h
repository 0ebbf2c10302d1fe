// What was heard in the last frames: enough of it to tell when and how clearly a word was spoken.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ds2 {

struct Symbol {
  float log_prob;
  int32_t token;
};

// Keeps the likely tokens of each frame, blanks left out, until they are forgotten. Frames count
// from the beginning of the segment.
class Heard {
 public:
  void clear();
  // A frame whose likeliest token, maybe the blank, has log probability `best`. The symbols'
  // log probabilities are relative to it.
  void add(const std::vector<Symbol>& symbols, float best, bool blank_is_best);
  void add_blank(float log_prob);
  // Forgets about half of what is kept, once it is much, but nothing from `frame` on.
  void forget_before(int32_t frame);

  // The frame in which a token that has its peak at `peak` was over: where it first, not before
  // `from`, is nearly as likely as at the peak and grows no more. A later peak may belong to the
  // next word, which not all hypotheses agree about.
  int32_t end_of(int32_t token, int32_t from, int32_t peak) const;
  // Frames, 1 to 4 and no more than there are, from `frame` on until another token is heard.
  int32_t quiet_after(int32_t token, int32_t frame) const;
  // Mean log probability of the likeliest token in frames [begin, end), as far as there are any.
  float clarity(int32_t begin, int32_t end) const;
  // The same for those of the last frames before `frame` that were not blank.
  float usual_clarity(int32_t frame) const;
  size_t bytes() const;

 private:
  struct Frame {
    double clarity;  // log probabilities of the likeliest tokens, summed up to here
    uint32_t end;    // its symbols end here
    float usual;     // clarity of the segment's frames so far that were not blank
  };
  int32_t end() const { return begin_ + static_cast<int32_t>(frames_.size()); }
  bool has(int32_t frame) const { return frame >= begin_ && frame < end(); }
  const Symbol* first(int32_t frame) const;
  const Symbol* last(int32_t frame) const { return symbols_.data() + frames_[frame - begin_].end; }
  float log_prob(int32_t frame, int32_t token) const;
  void add_clarity(float best);

  std::vector<Frame> frames_;
  std::vector<Symbol> symbols_;
  int32_t begin_ = 0;        // the first frame that is kept
  double forgotten_ = 0.0;   // clarity before it
  float usual_clarity_ = kFirstClarity;
  int usual_count_ = 0;
  static constexpr float kFirstClarity = -0.35f;
};

}  // namespace ds2
