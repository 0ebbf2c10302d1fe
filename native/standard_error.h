// What other libraries print on standard error while the process ends.
#pragma once

#include <cstdlib>

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <unistd.h>
#endif

namespace ds2 {

// Handlers run at exit in the reverse order of their registration, and between them the destructors
// of all that was made between: silent are those made after `speak_at_exit` and before
// `silent_at_exit`.
#if defined(__unix__) || defined(__APPLE__)
inline int spoken_to = -1;  // a copy of file descriptor 2, while it is silent

inline void speak_at_exit() {
  std::atexit([] {
    if (spoken_to < 0) return;
    dup2(spoken_to, 2);
    close(spoken_to);
  });
}

inline void silent_at_exit() {
  std::atexit([] {
    const int nowhere = open("/dev/null", O_WRONLY);
    if (nowhere < 0) return;
    spoken_to = dup(2);
    if (spoken_to >= 0) dup2(nowhere, 2);
    close(nowhere);
  });
}
#else
inline void speak_at_exit() {}
inline void silent_at_exit() {}
#endif

}  // namespace ds2
