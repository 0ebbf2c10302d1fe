#include "alignment.h"

#include <algorithm>
#include <functional>
#include <stdexcept>
#include <string>

#include "processors.h"

namespace ds2 {
namespace {

constexpr float kNever = -1e30f;
constexpr int64_t kBlock = 1024;      // frames from one checkpoint to the next
constexpr int64_t kLookEvery = 8;     // frames after which paths are given up
constexpr int32_t kNoWord = -1;

// How a state was reached, for each position.
constexpr int32_t kFromBlank = 1;  // the token from the blank before it
constexpr int32_t kFromToken = 2;  // the token from the token before it
constexpr int32_t kBlankLeft = 4;  // the blank from the token before it

// One frame more for positions [low, high). `token` and `next_token` begin one place early, so that
// token[p] is the one before position p and token[p + 1] the one at it.
DS2_FOR_EACH_PROCESSOR
void move(int64_t low, int64_t high, const float* __restrict row,
          const int32_t* __restrict token_column, const int32_t* __restrict blank_column,
          const float* __restrict direct, const float* __restrict blank,
          const float* __restrict token, float* __restrict next_blank,
          float* __restrict next_token) {
  for (int64_t p = low; p < high; ++p) {
    const float skip = token[p] + direct[p];
    const float entered = blank[p] > skip ? blank[p] : skip;
    next_token[p + 1] = (token[p + 1] > entered ? token[p + 1] : entered) + row[token_column[p]];
    next_blank[p] = (blank[p] > token[p] ? blank[p] : token[p]) + row[blank_column[p]];
  }
}

// The ways that `move` takes.
DS2_FOR_EACH_PROCESSOR
void trace_moves(int64_t low, int64_t high, const float* __restrict direct,
                 const float* __restrict blank, const float* __restrict token,
                 int32_t* __restrict trace) {
  for (int64_t p = low; p < high; ++p) {
    const float skip = token[p] + direct[p];
    const float entered = blank[p] > skip ? blank[p] : skip;
    const int32_t way = blank[p] > skip ? kFromBlank : kFromToken;
    trace[p - low] = (token[p + 1] > entered ? 0 : way) | (blank[p] > token[p] ? 0 : kBlankLeft);
  }
}

// The scores of all paths at a frame: those that are followed end at positions [low, high).
struct Front {
  int64_t low = 0, high = 1;
  int64_t first_word = 0;    // the first whose gap is at `low` or later
  std::vector<float> blank;  // of positions [low, high)
  std::vector<float> token;  // the same
};

// Which positions are followed on, and the best score of all.
struct Look {
  int64_t low, high;
  float best;
};

class Lattice {
 public:
  Lattice(const float* scores, int32_t columns, const AlignmentText& text,
          const AlignmentOptions& options)
      : scores_(scores), columns_(columns), text_(text), options_(options) {
    positions_ = static_cast<int64_t>(text.tokens.size()) + 1;  // the last is the gap at the end
    words_ = static_cast<int64_t>(text.starts.size()) - 1;
    token_column_ = text.tokens;
    token_column_.push_back(columns + 1);  // what nobody says
    blank_column_.assign(positions_, text.inner);
    direct_.assign(positions_, 0.0f);
    for (int64_t p = 1; p < positions_; ++p) {
      if (token_column_[p] == token_column_[p - 1]) direct_[p] = kNever;
    }
    for (const int32_t start : text.starts) {
      blank_column_[start] = columns;  // the gap
      if (text.space >= 0 || start == positions_ - 1) direct_[start] = kNever;
    }
    direct_[0] = kNever;
    trace_.resize(positions_);
    row_.assign(columns + 2, kNever);
    for (int side = 0; side < 2; ++side) {
      blank_[side].assign(positions_, kNever);
      token_[side].assign(positions_ + 1, kNever);
    }
  }

  void begin() {
    blank_[0][0] = 0.0f;
    low_ = 0;
    high_ = 1;
    first_word_ = 0;
    limit_ = positions_;
    leave_words_out(nullptr);
  }

  // Frames [begin, end), which start at a multiple of kBlock. `keep`: what `trace_back` needs; they
  // have been run before, from their checkpoint.
  void run(int64_t begin, int64_t end, bool keep) {
    if (keep) kept_.clear();
    for (int64_t t = begin; t < end; ++t) {
      load_row(t);
      open_until(std::min(high_ + 1, limit_));
      const float *const blank = blank_[now_].data(), *const token = token_[now_].data();
      Kept* kept = nullptr;
      if (keep) {
        trace_moves(low_, high_, direct_.data(), blank, token, trace_.data());
        kept_.push_back({low_, {trace_.begin(), trace_.begin() + (high_ - low_)}, first_word_, {}});
        kept = &kept_.back();
      }
      now_ = 1 - now_;
      move(low_, high_, row_.data(), token_column_.data(), blank_column_.data(), direct_.data(),
           blank, token, blank_[now_].data(), token_[now_].data());
      leave_words_out(kept);
      if ((t + 1) % kLookEvery) continue;
      if (!keep) looks_.push_back(look());
      give_up(looks_[t / kLookEvery]);
    }
  }

  Front front() const {
    Front front{low_, high_, first_word_, {}, {}};
    front.blank.assign(blank_[now_].begin() + low_, blank_[now_].begin() + high_);
    front.token.assign(token_[now_].begin() + low_ + 1, token_[now_].begin() + high_ + 1);
    return front;
  }

  // Begins at a checkpoint again. Nothing behind the state in which the block ends is needed: a
  // path goes forwards only.
  void resume(const Front& front, int32_t last_state) {
    now_ = 0;
    begin_at(front.low);
    limit_ = last_state / 2 + 1;
    high_ = std::min(front.high, limit_);
    first_word_ = front.first_word;
    const int64_t size = std::max<int64_t>(high_ - low_, 0);
    std::copy_n(front.blank.begin(), size, blank_[0].begin() + low_);
    std::copy_n(front.token.begin(), size, token_[0].begin() + low_ + 1);
  }

  // The state in which the best path ends: all that follows it is left out.
  int32_t last_state() const {
    int64_t best = 2 * low_;
    float highest = kNever;
    for (int64_t p = low_; p < high_; ++p) {
      // A path ends between two words: after the last token of one, or in a gap.
      const bool gap = blank_column_[p] == columns_;
      const float rest = p == positions_ - 1 ? 0.0f : left_out(p, positions_ - 1);
      if (gap && blank_[now_][p] - rest > highest) {
        highest = blank_[now_][p] - rest;
        best = 2 * p;
      }
      const bool whole = p + 1 < positions_ && blank_column_[p + 1] == columns_;
      const float others = p + 1 == positions_ - 1 ? 0.0f : left_out(p + 1, positions_ - 1);
      if (whole && token_[now_][p + 1] - others > highest) {
        highest = token_[now_][p + 1] - others;
        best = 2 * p + 1;
      }
    }
    return static_cast<int32_t>(best);
  }

  // Writes the states of the frames that were kept, which end in `state`; returns the state in
  // which the frame before them ended.
  int32_t trace_back(int32_t state, int32_t* states) const {
    for (int64_t t = static_cast<int64_t>(kept_.size()) - 1; t >= 0; --t) {
      const Kept& kept = kept_[t];
      int64_t p = state / 2;
      if (state % 2 == 0) p = spoken_before(kept, p);
      const int32_t way = kept.trace[p - kept.low];
      states[t] = static_cast<int32_t>(2 * p + state % 2);
      if (state % 2 == 0) {
        state = static_cast<int32_t>(way & kBlankLeft ? 2 * (p - 1) + 1 : 2 * p);
      } else if (way & kFromBlank) {
        state = static_cast<int32_t>(2 * p);
      } else if (way & kFromToken) {
        state = static_cast<int32_t>(2 * (p - 1) + 1);
      } else {
        state = static_cast<int32_t>(2 * p + 1);
      }
    }
    return state;
  }

 private:
  // What tells how the states of a frame were reached.
  struct Kept {
    int64_t low;
    std::vector<uint8_t> trace;    // of positions from `low` on
    int64_t first_word;
    std::vector<int32_t> sources;  // for gaps from that of `first_word` on: the word before whose
                                   // gap those left out begin, or kNoWord
  };

  float left_out(int64_t from, int64_t to) const {
    return options_.leave_out + options_.left_token * static_cast<float>(to - from);
  }

  void load_row(int64_t t) {
    const float* frame = scores_ + t * columns_;
    std::copy(frame, frame + columns_, row_.begin());
    float gap = std::max(frame[text_.blank], -options_.foreign);
    if (text_.space >= 0) gap = std::max(gap, frame[text_.space]);
    row_[columns_] = gap;
  }

  // From each gap to those after it, past words that are left out; perhaps to new positions.
  void leave_words_out(Kept* kept) {
    std::vector<float>& blank = blank_[now_];
    float run = kNever;
    int32_t source = kNoWord;
    int64_t from = 0;
    for (int64_t word = first_word_; word <= words_; ++word) {
      const int64_t p = text_.starts[word];
      if (run > kNever) run -= options_.left_token * static_cast<float>(p - from);
      from = p;
      if (p >= limit_) break;
      if (p >= high_) {
        if (run < -options_.beam) break;
        open_until(p + 1);
      }
      const bool left = run > blank[p];
      if (left) blank[p] = run;
      if (kept) kept->sources.push_back(left ? source : kNoWord);
      if (!left && blank[p] - options_.leave_out > run) {
        run = blank[p] - options_.leave_out;
        source = static_cast<int32_t>(word);
      }
    }
  }

  // Positions before that are followed no more.
  void begin_at(int64_t low) {
    low_ = low;
    for (std::vector<float>& token : token_) token[low] = kNever;  // the one before it
  }

  // Takes up positions that no path has reached, or none of late.
  void open_until(int64_t high) {
    for (int64_t p = high_; p < high; ++p) {
      blank_[now_][p] = token_[now_][p + 1] = kNever;
    }
    high_ = high;
  }

  // The positions near the best path.
  Look look() const {
    const std::vector<float>& blank = blank_[now_];
    const std::vector<float>& token = token_[now_];
    float best = kNever;
    for (int64_t p = low_; p < high_; ++p) {
      best = std::max(best, std::max(blank[p], token[p + 1]));
    }
    const float least = best - options_.beam;
    const auto lost = [&](int64_t p) { return std::max(blank[p], token[p + 1]) < least; };
    Look look{low_, high_, best};
    while (lost(look.low)) ++look.low;
    while (lost(look.high - 1)) --look.high;
    return look;
  }

  // Follows no others any more, and counts on from the best score: it is 0 then. So scores lose no
  // digits in a long recording.
  void give_up(const Look& look) {
    begin_at(look.low);
    const int64_t high = std::min(look.high, limit_);
    open_until(high);  // the first time, they were taken up on the way past `limit_`
    high_ = high;
    while (text_.starts[first_word_] < low_) ++first_word_;
    for (int64_t p = low_; p < high_; ++p) {
      blank_[now_][p] = std::max(blank_[now_][p] - look.best, kNever);
      token_[now_][p + 1] = std::max(token_[now_][p + 1] - look.best, kNever);
    }
  }

  // Of a gap that was reached past words left out: the gap before the first of them.
  int64_t spoken_before(const Kept& kept, int64_t p) const {
    if (blank_column_[p] != columns_) return p;
    const auto word = std::lower_bound(text_.starts.begin(), text_.starts.end(), p) -
                      text_.starts.begin();
    const int64_t at = word - kept.first_word;
    if (at < 0 || at >= static_cast<int64_t>(kept.sources.size())) return p;
    const int32_t source = kept.sources[at];
    return source == kNoWord ? p : text_.starts[source];
  }

  const float* scores_;
  const int64_t columns_;
  const AlignmentText& text_;
  const AlignmentOptions options_;
  int64_t positions_, words_;
  std::vector<int32_t> token_column_, blank_column_;  // of each position, in `row_`
  std::vector<float> direct_;  // whether a token may follow the one before it at once: 0 or kNever
  std::vector<float> row_;     // scores of the frame, of the gap, and of what nobody says
  std::vector<float> blank_[2], token_[2];  // token_[.][p + 1] belongs to position p
  std::vector<int32_t> trace_;  // of one frame
  std::vector<Kept> kept_;
  int now_ = 0;  // which of the two is the last frame's
  int64_t low_ = 0, high_ = 1, first_word_ = 0;
  int64_t limit_ = 1;  // positions from here on are not looked at
  std::vector<Look> looks_;
};

void check(const AlignmentText& text, int32_t columns, const AlignmentOptions& options) {
  const auto known = [&](int32_t column) { return column >= 0 && column < columns; };
  if (!known(text.blank) || !known(text.inner) || (text.space != -1 && !known(text.space)) ||
      !std::all_of(text.tokens.begin(), text.tokens.end(), known)) {
    throw std::invalid_argument("a token is none of the " + std::to_string(columns) + " columns");
  }
  if (text.starts.size() < 2 || text.starts.front() != 0 ||
      text.starts.back() != static_cast<int32_t>(text.tokens.size()) ||
      std::adjacent_find(text.starts.begin(), text.starts.end(), std::greater_equal<>()) !=
          text.starts.end()) {
    throw std::invalid_argument("needed a word or more, each with a token or more");
  }
  for (const float cost : {options.foreign, options.leave_out, options.left_token}) {
    if (!(cost >= 0) || cost > 1e6f) throw std::invalid_argument("costs must be 0 or more");
  }
  if (!(options.beam > 0) || options.beam > 1e6f) {
    throw std::invalid_argument("the beam must be above 0");
  }
}

}  // namespace

std::vector<int32_t> align(const float* scores, int64_t frames, int32_t columns,
                           const AlignmentText& text, const AlignmentOptions& options,
                           const std::function<void()>& after_block) {
  check(text, columns, options);
  Lattice lattice(scores, columns, text, options);
  std::vector<Front> checkpoints;
  lattice.begin();
  for (int64_t t = 0; t < frames; t += kBlock) {
    checkpoints.push_back(lattice.front());
    lattice.run(t, std::min(t + kBlock, frames), false);
    after_block();
  }
  std::vector<int32_t> states(frames);
  int32_t state = lattice.last_state();
  for (int64_t block = static_cast<int64_t>(checkpoints.size()) - 1; block >= 0; --block) {
    lattice.resume(checkpoints[block], state);
    lattice.run(block * kBlock, std::min((block + 1) * kBlock, frames), true);
    checkpoints.pop_back();
    state = lattice.trace_back(state, states.data() + block * kBlock);
    after_block();
  }
  return states;
}

}  // namespace ds2
