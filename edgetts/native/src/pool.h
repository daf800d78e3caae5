// A pool of persistent threads, one per process.
#pragma once

#include <cstdint>

// Calls work(context, i) once for every i in [0, n_items), spread over at most n_threads threads, the caller
// being one of them; returns when all are done. Items are taken one by one, so a preempted thread delays no
// other. A call made while the pool is busy runs on the calling thread alone.
void edgetts_parallel(int n_threads, int64_t n_items, void (*work)(void* context, int64_t item), void* context);

// The same for a callable: for_each(n_threads, n_items, [&](int64_t item) { ... }).
template <class Work>
void for_each(int n_threads, int64_t n_items, Work work) {
    edgetts_parallel(
        n_threads, n_items, [](void* context, int64_t item) { (*static_cast<Work*>(context))(item); }, &work);
}
