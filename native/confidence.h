// How sure a word is, as a probability.
#pragma once

#include <algorithm>
#include <cmath>

namespace ds2 {

// What is known about a word besides its score; natural logarithms.
struct Evidence {
  float letters;        // its tokens
  float pace;           // frames for each of them
  float language;       // log p(word | words before)
  float deficit;        // what its tokens are less likely than the likeliest ones, summed
  float clarity;        // mean log probability of the likeliest token of each frame, around it
  float usual_clarity;  // the same for this stream so far
};

// A logistic regression, fitted on words of which it is known whether they are right
// (ds2edge.training.confidence).
struct Confidence {
  float bias, letters, pace, language, deficit, clarity, usual_clarity;

  // 0..1. Extremes of the evidence, which the fit has hardly seen, count no more than its limits.
  float operator()(const Evidence& word) const {
    const float sum = bias + letters * std::min(word.letters, 12.0f) +
                      pace * std::min(word.pace, 12.0f) +
                      language * std::max(word.language, -15.0f) +
                      deficit * std::max(word.deficit, -25.0f) + clarity * word.clarity +
                      usual_clarity * word.usual_clarity;
    return 1.0f / (1.0f + std::exp(-sum));
  }
};

}  // namespace ds2
