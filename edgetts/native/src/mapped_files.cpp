// Mapped files that are truncated while they are read.
//
// Reading a mapped page past the end of its file raises SIGBUS, which ends the process. For files that were watched
// the handler maps zero pages there and records it; the caller asks `edgetts_watched_file_was_cut` before it uses
// what was computed. Every other SIGBUS goes to the handler that was there before (faulthandler's, or none).
// Linux only: which file an address belongs to is looked up in /proc/self/maps. The handler calls nothing that
// allocates or locks.
#include "variants.h"

#if defined(__linux__)
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace {

constexpr int max_files = 1024;
constexpr size_t chunk_bytes = 4096;   // of /proc/self/maps at a time
constexpr size_t max_line_bytes = 5000;  // addresses and a path of at most 4096 bytes

struct WatchedFile {
    char* path;
    size_t length;
    std::atomic<int> was_truncated;
};

WatchedFile files[max_files];
std::atomic<int> n_files{0};
std::mutex registering;
struct sigaction before;
bool is_installed = false;

int find(const char* path, size_t length) {
    const int n = n_files.load(std::memory_order_acquire);
    for (int i = 0; i < n; ++i)
        if (files[i].length == length && memcmp(files[i].path, path, length) == 0) return i;
    return -1;  // none
}

// A hexadecimal number at `at`, which is moved past it.
uintptr_t hexadecimal(const char*& at) {
    uintptr_t value = 0;
    for (;; ++at) {
        const char c = *at;
        if (c >= '0' && c <= '9')
            value = value * 16 + static_cast<uintptr_t>(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value * 16 + static_cast<uintptr_t>(c - 'a' + 10);
        else
            return value;
    }
}

constexpr int none = -1, zeros_already = -2;

// Whether a line of /proc/self/maps, ended by a null, is of the mapping that contains `address`. file: the watched file that is
// mapped there, `zeros_already` for memory of no file, which another thread's handler put there, or `none`.
bool contains(const char* line, uintptr_t address, uintptr_t& end, int& file) {
    const char* at = line;
    const uintptr_t start = hexadecimal(at);
    if (*at++ != '-') return false;
    end = hexadecimal(at);
    if (address < start || address >= end) return false;
    for (int field = 0; field < 4; ++field) {  // permissions, offset, device, inode
        while (*at == ' ') ++at;
        while (*at && *at != ' ') ++at;
    }
    while (*at == ' ') ++at;
    file = *at ? find(at, strlen(at)) : zeros_already;
    return true;
}

// The watched file that is mapped at `address`, `zeros_already` or `none`, and where that mapping ends.
int look_up(uintptr_t address, uintptr_t& end) {
    int file = none;
    const int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (maps < 0) return none;
    char chunk[chunk_bytes], line[max_line_bytes];
    size_t length = 0;
    bool found = false;
    for (ssize_t n; !found && (n = read(maps, chunk, sizeof chunk)) != 0;) {
        if (n < 0) {
            if (errno == EINTR) continue;
            break;
        }
        for (ssize_t i = 0; i < n && !found; ++i) {
            if (chunk[i] != '\n') {
                if (length + 1 < sizeof line) line[length++] = chunk[i];
                continue;
            }
            line[length] = 0;
            length = 0;
            found = contains(line, address, end, file);
        }
    }
    close(maps);
    return file;
}

void forward_signal(int signal, siginfo_t* info, void* context) {
    if (before.sa_flags & SA_SIGINFO) {
        before.sa_sigaction(signal, info, context);
    } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
        before.sa_handler(signal);
    } else {  // the access is repeated and ends the process; a signal that was sent is sent again
        std::signal(signal, SIG_DFL);
        if (info->si_code <= 0) raise(signal);
    }
}

void on_bus_error(int signal, siginfo_t* info, void* context) {
    const int kept_errno = errno;
    const uintptr_t page_bytes = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const uintptr_t address = reinterpret_cast<uintptr_t>(info->si_addr);
    const uintptr_t page = address - address % page_bytes;
    uintptr_t end = 0;
    const int file = info->si_code == BUS_ADRERR ? look_up(address, end) : none;
    if (file == zeros_already) {  // the access is repeated
        errno = kept_errno;
        return;
    }
    if (file >= 0) {
        files[file].was_truncated.store(1, std::memory_order_release);
        // All of the mapping after the page: the file is truncated, so what follows is missing too.
        void* zeros = mmap(reinterpret_cast<void*>(page), end - page, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
        if (zeros != MAP_FAILED) {
            errno = kept_errno;
            return;
        }
    }
    errno = kept_errno;
    forward_signal(signal, info, context);
}

}  // namespace

// Watches the file at `path`, absolute and without links. 0 if that is not possible.
EDGETTS_API int edgetts_watch_file(const char* path) {
    const std::lock_guard<std::mutex> lock(registering);
    const size_t length = strlen(path);
    const int known = find(path, length);
    if (known >= 0) {
        files[known].was_truncated.store(0, std::memory_order_release);
        return 1;
    }
    const int n = n_files.load(std::memory_order_relaxed);
    char* copy = n < max_files ? static_cast<char*>(malloc(length + 1)) : nullptr;
    if (copy == nullptr) return 0;
    memcpy(copy, path, length + 1);
    files[n].path = copy;
    files[n].length = length;
    files[n].was_truncated.store(0, std::memory_order_relaxed);
    n_files.store(n + 1, std::memory_order_release);
    if (!is_installed) {
        struct sigaction action;
        memset(&action, 0, sizeof action);
        action.sa_sigaction = on_bus_error;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigemptyset(&action.sa_mask);
        is_installed = sigaction(SIGBUS, &action, &before) == 0;
    }
    return is_installed;
}

// Whether a read past the end of the file happened since it was watched.
EDGETTS_API int edgetts_watched_file_was_cut(const char* path) {
    const int file = find(path, strlen(path));
    return file >= 0 && files[file].was_truncated.load(std::memory_order_acquire);
}
#else
EDGETTS_API int edgetts_watch_file(const char*) { return 0; }
EDGETTS_API int edgetts_watched_file_was_cut(const char*) { return 0; }
#endif
