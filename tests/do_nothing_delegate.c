/* The smallest library that tflite-runtime takes for a delegate: it takes no operator, so that every
 * one stays where it was. DELEGATE_FAILS=create or prepare in the environment makes it fail there.
 *
 *   cc -shared -fPIC -o delegate.so do_nothing_delegate.c
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, DELEGATE_ERROR = 2 }; /* of TfLiteStatus */

/* TfLiteDelegate of TensorFlow Lite's C interface, 2.14 and later. */
typedef struct Delegate {
  void *data;
  int (*prepare)(void *context, struct Delegate *delegate);
  void *copy_from, *copy_to, *free_handle;
  int64_t flags;
  void *opaque_builder;
} Delegate;

static int fails_to(const char *step) {
  const char *told = getenv("DELEGATE_FAILS");
  return told && !strcmp(told, step);
}

static int prepare(void *context, Delegate *delegate) {
  (void)context, (void)delegate;
  fprintf(stderr, "delegate: asked to prepare\n");
  return fails_to("prepare") ? DELEGATE_ERROR : OK;
}

Delegate *tflite_plugin_create_delegate(const char *const *keys, const char *const *values,
                                        size_t count, void (*report)(const char *)) {
  (void)keys, (void)values, (void)count;
  if (fails_to("create")) {
    report("told to fail");
    return NULL;
  }
  Delegate *delegate = calloc(1, sizeof *delegate);
  if (delegate) delegate->prepare = prepare;
  return delegate;
}

void tflite_plugin_destroy_delegate(Delegate *delegate) {
  free(delegate); /* NULL after a failed create */
}
