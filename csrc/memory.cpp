#include "memory.hpp"

#include <algorithm>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace recurra {
namespace {

// The most that is kept. A block this large and more is asked for in pages of 2 MB.
constexpr std::size_t MOST_KEPT = std::size_t(256) << 20, PAGE = 4096, LARGE = std::size_t(2) << 20;

struct Block {
    char* begin;
    std::size_t bytes;
};

struct Kept {
    std::mutex busy;
    std::vector<Block> blocks;
    std::size_t bytes = 0;
};

// Never destroyed: memory may come back while the process ends.
Kept& kept() {
    static Kept* const all = new Kept;
    return *all;
}

std::align_val_t alignment(std::size_t bytes) {
    return std::align_val_t(bytes < LARGE ? PAGE : LARGE);
}

Block fresh(std::size_t bytes) {
    const std::size_t unit = bytes < LARGE ? PAGE : LARGE;
    bytes = (std::max<std::size_t>(bytes, 1) + unit - 1) / unit * unit;
    char* begin = static_cast<char*>(::operator new[](bytes, alignment(bytes)));
#if defined(MADV_HUGEPAGE)
    if (bytes >= LARGE) madvise(begin, bytes, MADV_HUGEPAGE);
#endif
    return {begin, bytes};
}

void drop(const Block& block) { ::operator delete[](block.begin, alignment(block.bytes)); }

// The smallest that is large enough and not wastefully large.
Block find(std::vector<Block>& blocks, std::size_t bytes) {
    auto best = blocks.end();
    for (auto each = blocks.begin(); each != blocks.end(); ++each) {
        const bool fits = each->bytes >= bytes && each->bytes / 2 <= bytes + PAGE;
        if (fits && (best == blocks.end() || each->bytes < best->bytes)) best = each;
    }
    if (best == blocks.end()) return {nullptr, 0};
    const Block found = *best;
    blocks.erase(best);
    return found;
}

}  // namespace

// A lock that is held is not waited for: in a forked child its holder may not exist.
Memory::Memory(std::size_t bytes) {
    Kept& all = kept();
    Block block{nullptr, 0};
    if (const std::unique_lock lock(all.busy, std::try_to_lock); lock) {
        block = find(all.blocks, bytes);
        all.bytes -= block.bytes;
    }
    if (!block.begin) block = fresh(bytes);
    begin_ = block.begin;
    bytes_ = block.bytes;
}

Memory::Memory(Memory&& other) noexcept
    : begin_(std::exchange(other.begin_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Memory& Memory::operator=(Memory&& other) noexcept {
    std::swap(begin_, other.begin_);
    std::swap(bytes_, other.bytes_);
    return *this;
}

Memory::~Memory() {
    if (!begin_) return;
    Kept& all = kept();
    const std::unique_lock lock(all.busy, std::try_to_lock);
    if (!lock || bytes_ > MOST_KEPT / 2) {
        drop({begin_, bytes_});
        return;
    }
    all.blocks.push_back({begin_, bytes_});
    all.bytes += bytes_;
    while (all.bytes > MOST_KEPT) {  // the one that has lain longest
        all.bytes -= all.blocks.front().bytes;
        drop(all.blocks.front());
        all.blocks.erase(all.blocks.begin());
    }
}

std::size_t memory_kept() {
    const std::lock_guard lock(kept().busy);
    return kept().bytes;
}

void release_memory() {
    Kept& all = kept();
    const std::lock_guard lock(all.busy);
    for (const Block& block : all.blocks) drop(block);
    all.blocks.clear();
    all.bytes = 0;
}

}  // namespace recurra
