// Memory taken from what was given back before: fresh pages can cost more than the scan that fills
// them.
#pragma once

#include <cstddef>

namespace recurra {

class Memory {
public:
    Memory() = default;
    // At least this many bytes, aligned to a page; what is in them is not said. Throws
    // std::bad_alloc.
    explicit Memory(std::size_t bytes);
    Memory(const Memory&) = delete;
    Memory(Memory&& other) noexcept;
    Memory& operator=(Memory&& other) noexcept;
    ~Memory();

    char* get() const { return begin_; }

private:
    char* begin_ = nullptr;
    std::size_t bytes_ = 0;
};

// Bytes that lie ready, and giving them back to the system.
std::size_t memory_kept();
void release_memory();

}  // namespace recurra
