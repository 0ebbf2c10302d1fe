#include "heard.h"

#include <algorithm>
#include <cmath>

#include "log_math.h"

namespace ds2 {
namespace {

constexpr float kNearlyAsLikely = -2.3f;  // a tenth
constexpr float kOthersAreHeard = 0.3f;
constexpr int32_t kLongestQuiet = 4;
constexpr float kLeastClarity = -10.0f;
constexpr size_t kManyFrames = 1024;
// The usual clarity: a mean that forgets what is older than so many frames with tokens.
constexpr int kUsualFrames = 64, kFirstFrames = 8;

}  // namespace

void Heard::clear() {
  frames_.clear();
  symbols_.clear();
  begin_ = 0;
  forgotten_ = 0.0;
  usual_clarity_ = kFirstClarity;
  usual_count_ = 0;
}

void Heard::add_clarity(float best) {
  const double before = frames_.empty() ? forgotten_ : frames_.back().clarity;
  frames_.push_back({before + std::max(best, kLeastClarity),
                     static_cast<uint32_t>(symbols_.size()), usual_clarity_});
}

void Heard::add_blank(float log_prob) { add_clarity(log_prob); }

void Heard::add(const std::vector<Symbol>& symbols, float best, bool blank_is_best) {
  for (const Symbol& symbol : symbols) symbols_.push_back({symbol.log_prob + best, symbol.token});
  if (!blank_is_best) {
    const int frames = std::min(usual_count_++ + kFirstFrames, kUsualFrames);
    usual_clarity_ += (std::max(best, kLeastClarity) - usual_clarity_) / static_cast<float>(frames);
  }
  add_clarity(best);
}

void Heard::forget_before(int32_t frame) {
  const auto count = static_cast<size_t>(std::max(std::min(frame, end()) - begin_, 0));
  if (count < kManyFrames) return;
  const uint32_t symbols = frames_[count - 1].end;
  forgotten_ = frames_[count - 1].clarity;
  frames_.erase(frames_.begin(), frames_.begin() + static_cast<std::ptrdiff_t>(count));
  symbols_.erase(symbols_.begin(), symbols_.begin() + symbols);
  for (Frame& kept : frames_) kept.end -= symbols;
  begin_ += static_cast<int32_t>(count);
}

const Symbol* Heard::first(int32_t frame) const {
  return symbols_.data() + (frame == begin_ ? 0 : frames_[frame - begin_ - 1].end);
}

float Heard::log_prob(int32_t frame, int32_t token) const {
  if (!has(frame)) return kLogZero;
  for (const Symbol* symbol = first(frame); symbol < last(frame); ++symbol) {
    if (symbol->token == token) return symbol->log_prob;
  }
  return kLogZero;
}

int32_t Heard::end_of(int32_t token, int32_t from, int32_t peak) const {
  if (!has(peak)) return peak;
  const float enough = log_prob(peak, token) + kNearlyAsLikely;
  int32_t frame = std::max(from, begin_);
  while (frame < peak && log_prob(frame, token) < enough) ++frame;
  while (log_prob(frame + 1, token) > log_prob(frame, token)) ++frame;
  return frame;
}

int32_t Heard::quiet_after(int32_t token, int32_t frame) const {
  int32_t quiet = 1;
  for (; quiet < kLongestQuiet; ++quiet) {
    if (!has(frame + quiet)) break;
    float others = 0.0f;
    for (const Symbol* symbol = first(frame + quiet); symbol < last(frame + quiet); ++symbol) {
      if (symbol->token != token) others += std::exp(symbol->log_prob);
    }
    if (others > kOthersAreHeard) break;
  }
  return quiet;
}

float Heard::clarity(int32_t begin, int32_t end) const {
  begin = std::max(begin, begin_);
  end = std::min(end, this->end());
  if (begin >= end) return 0.0f;
  const double before = begin == begin_ ? forgotten_ : frames_[begin - begin_ - 1].clarity;
  return static_cast<float>((frames_[end - 1 - begin_].clarity - before) / (end - begin));
}

float Heard::usual_clarity(int32_t frame) const {
  return has(frame - 1) ? frames_[frame - 1 - begin_].usual : kFirstClarity;
}

size_t Heard::bytes() const {
  return frames_.capacity() * sizeof(Frame) + symbols_.capacity() * sizeof(Symbol);
}

}  // namespace ds2
