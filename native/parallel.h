// Independent work on several threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace ds2 {

// Calls work(0) ... work(count - 1), each once, on at most `threads` threads, this one included.
// A thread begins with every `threads`-th, the same at every call, so that what belongs to one
// stays in its processor's cache; then it helps the others. If some throw, all others are still
// done, and one of the exceptions is thrown on.
template <class Work>
void parallel_for(size_t count, size_t threads, const Work& work) {
  threads = std::max<size_t>(std::min(threads, count), 1);
  std::vector<std::atomic<size_t>> next(threads);
  for (size_t i = 0; i < threads; ++i) next[i] = i;
  std::exception_ptr failure;
  std::mutex failing;
  const auto take = [&](size_t own) {
    for (size_t share = 0; share < threads; ++share) {
      std::atomic<size_t>& at = next[(own + share) % threads];
      for (size_t i; (i = at.fetch_add(threads)) < count;) {
        try {
          work(i);
        } catch (...) {
          const std::lock_guard<std::mutex> lock(failing);
          if (!failure) failure = std::current_exception();
        }
      }
    }
  };
  std::vector<std::thread> helpers;
  try {
    for (size_t i = 1; i < threads; ++i) helpers.emplace_back(take, i);
  } catch (const std::system_error&) {
    // The system gives no more threads: those there are do it all.
  }
  take(0);
  for (std::thread& helper : helpers) helper.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace ds2
