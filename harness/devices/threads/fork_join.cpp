/* Runs the parallel loops of compiled kernels: what TVM's generated code calls to fork and join.
 *
 * A loop comes in parts, as a rule one for each thread. A thread without work looks for some without
 * giving way to others, and sleeps once it has looked for long. Each thread has parts of its own,
 * because its caches hold what it wrote in the kernel before; but what it has not begun when the
 * caller is done with its own is the caller's: nobody waits for a thread that sleeps, or whose
 * processor was taken away.
 */
#include <sched.h>
#include <sys/prctl.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace {

// As in tvm/runtime/c_backend_api.h. What waits for other parts within a loop is not provided for:
// no schedule here asks for it.
struct Environment {
  void *barrier;
  std::int32_t parts;
};
using Loop = int (*)(int part, Environment *environment, void *data);

constexpr int kLooks = 20'000;  // half a millisecond or so
constexpr std::uint32_t kTaken = 1;

thread_local bool in_loop = false;

void wait_a_little() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

struct Worker {
  // The number of a loop, an even one, and `kTaken` once somebody has begun its parts.
  alignas(64) std::atomic<std::uint32_t> offered{kTaken};
  alignas(64) std::atomic<std::uint32_t> done{0};
  bool failed = false;

  bool take(std::uint32_t number) {
    return offered.compare_exchange_strong(number, number | kTaken);
  }

  std::uint32_t awaited_offer() {
    for (int looks = 0;; ++looks) {
      const std::uint32_t number = offered.load(std::memory_order_relaxed);
      if (!(number & kTaken)) return number;
      if (looks < kLooks)
        wait_a_little();
      else
        offered.wait(number);
    }
  }

  void await_done(std::uint32_t number) const {
    for (int looks = 0; done.load(std::memory_order_acquire) != number; ++looks)
      looks < kLooks ? wait_a_little() : std::this_thread::yield();
  }
};

class Pool {
 public:
  explicit Pool(unsigned threads) : workers_(threads) {
    cpu_set_t processors;
    const bool known = sched_getaffinity(0, sizeof processors, &processors) == 0;
    int processor = -1;
    for (unsigned thread = 0; thread < threads; ++thread) {
      if (known) {
        do processor = (processor + 1) % CPU_SETSIZE;
        while (!CPU_ISSET(processor, &processors));
      }
      // Thread 0 is whoever calls, which is not ours to bind.
      if (thread > 0) start(thread, processor);
    }
  }

  int run(Loop loop, void *data, int parts) {
    std::unique_lock<std::mutex> sole(sole_, std::defer_lock);
    // Within a loop, or beside another caller's, all threads have work.
    if (workers_.size() == 1 || parts == 1 || in_loop || !sole.try_lock())
      return alone(loop, data, std::max(parts, 1));
    loop_ = loop;
    data_ = data;
    environment_.parts = parts > 0 ? parts : static_cast<int>(workers_.size());
    number_ += 2;
    const auto used = std::min<std::size_t>(workers_.size(), environment_.parts);
    for (std::size_t thread = 1; thread < used; ++thread) {
      workers_[thread].offered.store(number_);
      workers_[thread].offered.notify_one();
    }
    bool failed = parts_of(0);
    for (std::size_t thread = 1; thread < used; ++thread)
      if (workers_[thread].take(number_)) finish(thread, number_);
    for (std::size_t thread = 1; thread < used; ++thread) {
      workers_[thread].await_done(number_);
      // An error is kept for the thread that meets it, and who called is to have it: once more.
      if (workers_[thread].failed) failed |= parts_of(thread);
    }
    return failed ? -1 : 0;
  }

 private:
  void start(unsigned thread, int processor) {
    const auto work = [this, thread, processor] {
      prctl(PR_SET_NAME, "fork-join");
      if (processor >= 0) {
        cpu_set_t only;
        CPU_ZERO(&only);
        CPU_SET(processor, &only);
        sched_setaffinity(0, sizeof only, &only);
      }
      Worker &worker = workers_[thread];
      for (;;) {
        const std::uint32_t number = worker.awaited_offer();
        if (worker.take(number)) finish(thread, number);
      }
    };
    try {
      std::thread(work).detach();
    } catch (const std::system_error &) {
      // Its parts are the caller's then.
    }
  }

  void finish(std::size_t thread, std::uint32_t number) {
    workers_[thread].failed = parts_of(thread);
    workers_[thread].done.store(number, std::memory_order_release);
  }

  /* Run what is a thread's; whether any of it failed. */
  bool parts_of(std::size_t thread) {
    bool failed = false;
    in_loop = true;
    for (int part = static_cast<int>(thread); part < environment_.parts;
         part += static_cast<int>(workers_.size()))
      failed |= loop_(part, &environment_, data_) != 0;
    in_loop = false;
    return failed;
  }

  static int alone(Loop loop, void *data, int parts) {
    Environment environment{nullptr, parts};
    bool failed = false;
    for (int part = 0; part < parts; ++part) failed |= loop(part, &environment, data) != 0;
    return failed ? -1 : 0;
  }

  std::vector<Worker> workers_;
  std::mutex sole_;
  std::uint32_t number_ = 0;
  Loop loop_ = nullptr;
  void *data_ = nullptr;
  Environment environment_{nullptr, 0};
};

int set_threads = 0;

unsigned asked_threads() {
  const char *asked = std::getenv("TVM_NUM_THREADS");
  const int threads = set_threads > 0 ? set_threads : asked ? std::atoi(asked) : 0;
  return threads > 0 ? threads : std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace

/* Have the first loop start so many threads, whatever `TVM_NUM_THREADS` says. */
extern "C" void layeredge_set_threads(int threads) { set_threads = threads; }

/* Run all parts of a loop: as many as there are threads where `parts` is 0. Returns 0, or -1 where
 * one failed. The threads are started by the first call, as many as `TVM_NUM_THREADS` says, and live
 * as long as the process. */
extern "C" int layeredge_fork_join(Loop loop, void *data, int parts) {
  static Pool &pool = *new Pool(asked_threads());
  return pool.run(loop, data, parts);
}

/* Have loops that the calling thread runs from now on stay in it, or not: a forked process has no
 * other threads. */
extern "C" void layeredge_stay_in_thread(bool stay) { in_loop = stay; }
