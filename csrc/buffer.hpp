// The memory of an array that Python hands over.
#pragma once

#include <nanobind/nanobind.h>

namespace recurra {

// What every NumPy array begins with: PyArrayObject_fields of its C API, which compiled extensions
// read in place.
struct ArrayFields {
    PyObject_HEAD void* data;
    int ndim;
    Py_ssize_t *shape, *strides;
    PyObject *base, *dtype;
    int flags;  // NPY_ARRAY_C_CONTIGUOUS, _ALIGNED, _WRITEABLE

    bool ready(bool to_write) const {
        return (flags & 0x101) == 0x101 && (!to_write || (flags & 0x400));
    }
};

// Arrays of one dtype; `type` is theirs if they may be read by their fields, else none.
struct ArrayKind {
    PyTypeObject* type;
    nanobind::object dtype;
    char code;  // 'f' float32, 'q' int64
};

// An array's memory in C order, if it is of that dtype. By the fields of a plain array, which takes
// a tenth of the time, else by the buffer protocol.
class Buffer {
public:
    void* data = nullptr;
    int ndim = 0;
    const Py_ssize_t* shape = nullptr;
    bool there = false;

    Buffer(nanobind::handle object, const ArrayKind& kind, bool to_write) {
        if (kind.type && Py_TYPE(object.ptr()) == kind.type) {
            const auto& array = *reinterpret_cast<const ArrayFields*>(object.ptr());
            if (array.dtype == kind.dtype.ptr() && array.ready(to_write)) {
                take(array.data, array.ndim, array.shape);
                return;
            }
        }
        held_ = PyObject_GetBuffer(
                    object.ptr(), &view_,
                    PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (to_write ? PyBUF_WRITABLE : 0)) == 0;
        if (!held_) PyErr_Clear();
        if (held_ && holds(kind.code)) take(view_.buf, view_.ndim, view_.shape);
    }
    ~Buffer() {
        if (held_) PyBuffer_Release(&view_);
    }
    Buffer(const Buffer&) = delete;

    // Whether the fields of what was given as `object` say what the buffer protocol says.
    bool told_by_fields(nanobind::handle object, nanobind::handle dtype) const {
        const auto& array = *reinterpret_cast<const ArrayFields*>(object.ptr());
        return there && array.data == data && array.ndim == ndim && array.shape[0] == shape[0] &&
               array.shape[ndim - 1] == shape[ndim - 1] && array.dtype == dtype.ptr() &&
               array.ready(true);
    }

private:
    Py_buffer view_{};
    bool held_ = false;

    void take(void* memory, int axes, const Py_ssize_t* sizes) {
        data = memory;
        ndim = axes;
        shape = sizes;
        there = true;
    }

    bool holds(char code) const {
        const char* format = view_.format;
        if (*format == '=' || *format == '<' || *format == '@') ++format;
        const bool whole = code == 'q' && (*format == 'l' || *format == 'q') && view_.itemsize == 8;
        return (whole || *format == code) && !format[1];
    }
};

}  // namespace recurra
