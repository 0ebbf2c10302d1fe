// What of a frame is searched.
#include <algorithm>
#include <cmath>

#include "search.h"

namespace ds2 {
namespace {

constexpr int kBlock = 64;  // tokens; most blocks of a large token set are empty

bool any_above(const float* block, float floor) {
  int above = 0;
  for (int i = 0; i < kBlock; ++i) above |= block[i] > floor;
  return above != 0;
}

}  // namespace

// log_softmax(log p - weight log prior), in working space.
const float* SearchState::divide_by_prior(const float* frame) {
  const std::vector<float>& prior = search_->prior();
  if (prior.empty()) return frame;
  divided_.resize(prior.size());
  for (size_t v = 0; v < prior.size(); ++v) divided_[v] = std::max(frame[v], kLogZero) - prior[v];
  float highest = *std::max_element(divided_.begin(), divided_.end()), sum = 0.0f;
  for (const float value : divided_) sum += std::exp(value - highest);
  highest += std::log(sum);
  for (float& value : divided_) value -= highest;
  return divided_.data();
}

// The blank alone reaches the cutoff: all hypotheses stay as they are and end with a blank.
void SearchState::step_blank(float log_prob) {
  heard_.add_blank(log_prob);
  offset_ += log_prob;
  if (all_blank_) return;
  all_blank_ = true;
  for (size_t i = 0; i < beam_.size(); ++i) {
    if (beam_.nonblank[i] > beam_.blank[i]) beam_.blank_moment[i] = beam_.nonblank_moment[i];
    beam_.blank[i] = beam_.total[i];
    beam_.nonblank[i] = kLogZero;
  }
}

// symbols_: the likeliest tokens above the floor, the best first: as many as may be searched, and
// the blank.
void SearchState::collect_symbols(const float* frame) {
  const int count = search_->token_count();
  const auto likelier = [](const Symbol& a, const Symbol& b) {
    return a.log_prob != b.log_prob ? a.log_prob > b.log_prob : a.token < b.token;
  };
  const size_t most = static_cast<size_t>(search_->options().top) + 1;
  float floor = floor_log_prob_;
  symbols_.clear();
  for (int begin = 0; begin < count; begin += kBlock) {
    const int end = std::min(begin + kBlock, count);
    if (end - begin == kBlock && !any_above(frame + begin, floor)) continue;
    for (int token = begin; token < end; ++token) {
      if (frame[token] > floor) symbols_.push_back({frame[token], token});
    }
    if (symbols_.size() < 4 * most + kBlock) continue;
    // Noise over a large token set: only what is likelier than the last of these can be among them.
    const auto last = symbols_.begin() + static_cast<std::ptrdiff_t>(most) - 1;
    std::nth_element(symbols_.begin(), last, symbols_.end(), likelier);
    floor = last->log_prob;
    symbols_.resize(most);
  }
  if (symbols_.size() > most) {
    const auto middle = symbols_.begin() + static_cast<std::ptrdiff_t>(most);
    std::nth_element(symbols_.begin(), middle, symbols_.end(), likelier);
    symbols_.resize(most);
  }
  std::sort(symbols_.begin(), symbols_.end(), likelier);
}

// symbols_: the tokens of the cutoff without the blank, the likeliest first.
void SearchState::select_symbols(const float* frame) {
  collect_symbols(frame);
  shift_ = symbols_.empty() ? frame[search_->blank()] : symbols_[0].log_prob;
  shift_ = std::max(shift_, kLogZero);
  const SearchOptions& options = search_->options();
  size_t kept = 0;
  float reached = 0.0f;
  for (const Symbol& symbol : symbols_) {
    if (kept == static_cast<size_t>(options.top)) break;
    if (options.cutoff < 1.0f) {
      if (reached >= options.cutoff) break;
      reached += std::exp(symbol.log_prob);
    }
    if (symbol.token == search_->blank()) continue;
    symbols_[kept++] = {symbol.log_prob - shift_, symbol.token};
  }
  symbols_.resize(kept);
  offset_ += shift_;
  heard_.add(symbols_, shift_, frame[search_->blank()] >= shift_);
}

}  // namespace ds2
