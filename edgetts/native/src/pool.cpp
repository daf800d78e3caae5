// The thread pool of pool.h. Idle threads spin for a moment, because the next matrix of a decoding step follows
// within microseconds, and then sleep, so that they take no time from others between steps.
#include "pool.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <new>
#include <thread>

#include "variants.h"

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace {

const int MAX_THREADS = 64;
const auto SPIN = std::chrono::microseconds(50);

inline void relax() {
#if EDGETTS_X86
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

struct Job {
    void (*work)(void*, int64_t);
    void* context;
    int64_t n_items;
    std::atomic<int64_t> next{0};
    std::atomic<int> vacancies{0};  // workers that may still join

    void take() {
        for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < n_items;) work(context, i);
    }
};

class Pool {
public:
    std::mutex busy;  // held by the caller whose job runs

    void run(int n_threads, Job& job) {
        grow(n_threads - 1);
        job.vacancies.store(n_threads - 1, std::memory_order_relaxed);
        {
            std::lock_guard<std::mutex> lock(mutex_);
            job_ = &job;
            epoch_.fetch_add(1, std::memory_order_release);
        }
        wake_.notify_all();
        job.take();
        {
            std::lock_guard<std::mutex> lock(mutex_);
            job_ = nullptr;  // late workers find no job
        }
        const auto end = std::chrono::steady_clock::now() + SPIN;
        while (active_.load(std::memory_order_acquire) != 0) {
            if (std::chrono::steady_clock::now() < end) {
                relax();
            } else {
                std::unique_lock<std::mutex> lock(mutex_);
                done_.wait(lock, [&] { return active_.load(std::memory_order_acquire) == 0; });
            }
        }
    }

private:
    void grow(int n_workers) {
        for (; n_workers_ < n_workers; ++n_workers_) std::thread([this] { serve(); }).detach();
    }

    void serve() {
        uint64_t seen = 0;
        for (;;) {
            const auto end = std::chrono::steady_clock::now() + SPIN;
            while (epoch_.load(std::memory_order_acquire) == seen && std::chrono::steady_clock::now() < end)
                for (int i = 0; i < 16; ++i) relax();
            Job* job = nullptr;
            {
                std::unique_lock<std::mutex> lock(mutex_);
                wake_.wait(lock, [&] { return epoch_.load(std::memory_order_relaxed) != seen; });
                seen = epoch_.load(std::memory_order_relaxed);
                if (job_ != nullptr && job_->vacancies.load(std::memory_order_relaxed) > 0) {
                    job = job_;
                    job->vacancies.fetch_sub(1, std::memory_order_relaxed);
                    active_.fetch_add(1, std::memory_order_relaxed);
                }
            }
            if (job == nullptr) continue;
            job->take();
            if (active_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
                std::lock_guard<std::mutex> lock(mutex_);
                done_.notify_one();
            }
        }
    }

    std::mutex mutex_;  // guards job_ and the two conditions
    std::condition_variable wake_, done_;
    std::atomic<uint64_t> epoch_{0};
    std::atomic<int> active_{0};  // workers inside a job
    Job* job_ = nullptr;
    int n_workers_ = 0;
};

// Never destroyed: its threads outlive main. A forked child has no threads and starts its own.
std::atomic<Pool*> pool{nullptr};

Pool& the_pool() {
    Pool* here = pool.load(std::memory_order_acquire);
    if (here != nullptr) return *here;
    Pool* fresh = new Pool;
    if (pool.compare_exchange_strong(here, fresh)) {
#if !defined(_WIN32)
        static std::once_flag once;
        std::call_once(once, [] { pthread_atfork(nullptr, nullptr, [] { pool.store(nullptr); }); });
#endif
        return *fresh;
    }
    delete fresh;
    return *here;
}

}  // namespace

void edgetts_parallel(int n_threads, int64_t n_items, void (*work)(void*, int64_t), void* context) {
    if (n_threads > MAX_THREADS) n_threads = MAX_THREADS;
    if (n_threads > n_items) n_threads = static_cast<int>(n_items);
    if (n_threads > 1) {
        Pool& shared = the_pool();
        std::unique_lock<std::mutex> mine(shared.busy, std::try_to_lock);
        if (mine.owns_lock()) {
            Job job;
            job.work = work;
            job.context = context;
            job.n_items = n_items;
            shared.run(n_threads, job);
            return;
        }
    }
    for (int64_t i = 0; i < n_items; ++i) work(context, i);
}
