// What of a frame is searched.
#include <algorithm>
#include <cmath>

#include "search.h"

namespace ds2 {

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

// symbols_: the tokens of the cutoff without the blank, the likeliest first.
void SearchState::select_symbols(const float* frame) {
  const int count = search_->token_count();
  symbols_.clear();
  int token = 0;
  for (; token + 16 <= count; token += 16) {  // most blocks of a large token set are empty
    float highest = frame[token];
    for (int i = 1; i < 16; ++i) highest = std::max(highest, frame[token + i]);
    if (highest <= floor_log_prob_) continue;
    for (int i = token; i < token + 16; ++i) {
      if (frame[i] > floor_log_prob_) symbols_.push_back({frame[i], i});
    }
  }
  for (; token < count; ++token) {
    if (frame[token] > floor_log_prob_) symbols_.push_back({frame[token], token});
  }
  std::sort(symbols_.begin(), symbols_.end(), [](const Symbol& a, const Symbol& b) {
    return a.log_prob != b.log_prob ? a.log_prob > b.log_prob : a.token < b.token;
  });
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
