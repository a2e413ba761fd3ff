// The macros around Result<T> (kimberlite/result.hpp), and KL_CHECK.
//
// Everything that a user, a file or a driver can cause travels as a Result. KL_CHECK is for
// programmer errors only: it prints the expression and aborts.
#pragma once

#include <cstdio>
#include <cstdlib>

#include "kimberlite/result.hpp"

/// Returns the error of `expr` (a Result or Status) from the enclosing function, if it has one.
#define KL_TRY(expr)                                                    \
  do {                                                                  \
    auto kl_try_status = (expr);                                        \
    if (!kl_try_status.ok()) return std::move(kl_try_status).error();   \
  } while (0)

#define KL_CONCAT_INNER(a, b) a##b
#define KL_CONCAT(a, b) KL_CONCAT_INNER(a, b)
#define KL_ASSIGN_INNER(tmp, target, expr)            \
  auto tmp = (expr);                                  \
  if (!tmp.ok()) return std::move(tmp).error();       \
  target = std::move(tmp).value()

/// `KL_ASSIGN(auto file, open(path));` binds the value or returns the error.
#define KL_ASSIGN(target, expr) KL_ASSIGN_INNER(KL_CONCAT(kl_assign_, __LINE__), target, expr)

/// Programmer errors only, never for input: prints the expression with its place and aborts.
#define KL_CHECK(cond, what)                                                               \
  do {                                                                                     \
    if (!(cond)) {                                                                         \
      std::fprintf(stderr, "%s:%d: check failed: %s (%s)\n", __FILE__, __LINE__, #cond, what); \
      std::abort();                                                                        \
    }                                                                                      \
  } while (0)
