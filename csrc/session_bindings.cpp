// Models and sessions for Python; a push takes and gives buffers.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/vector.h>

#include "arguments.hpp"
#include "bindings.hpp"
#include "buffer.hpp"
#include "model.hpp"

namespace nb = nanobind;

namespace recurra {
namespace {

// Multiplications from which a push lets other threads of Python run.
constexpr double WORTH_A_RELEASE = 5e4;

template <class P>
const P* place(nb::handle array, std::int64_t& size) {
    const auto [address, count] = nb::cast<Array>(array);
    size = count;
    return reinterpret_cast<const P*>(address);
}

FloatLists vectors(nb::handle list) {
    FloatLists found;
    for (nb::handle array : list) {
        found.data.push_back(place<float>(array, found.sizes.emplace_back()));
    }
    return found;
}

// A number that stands for one of `count` names.
template <class E>
E choice(nb::handle number, int count, const char* name) {
    const int i = nb::cast<int>(number);
    if (i < 0 || i >= count)
        refuse(name, "be at least 0 and below " + std::to_string(count), std::to_string(i));
    return E(i);
}

// (kind, in, out, weights, gains, biases, params, program, (function, kernel, dilation, groups),
// eps, inside); a weight is (precision, values, scales, bias, rows, columns).
LayerList layer_of(nb::handle given) {
    const auto tuple = nb::cast<nb::tuple>(given);
    LayerList list;
    Layer& layer = list.layer;
    layer.kind = choice<Kind>(tuple[0], KINDS, "kind");
    layer.in = nb::cast<std::int64_t>(tuple[1]);
    layer.out = nb::cast<std::int64_t>(tuple[2]);
    for (nb::handle each : nb::cast<nb::list>(tuple[3])) {
        const auto parts = nb::cast<nb::tuple>(each);
        Weight weight{};
        weight.precision = choice<Precision>(parts[0], PRECISIONS, "precision");
        weight.values = place<void>(parts[1], weight.sizes[0]);
        weight.scales = place<float>(parts[2], weight.sizes[1]);
        weight.bias = place<float>(parts[3], weight.sizes[2]);
        weight.rows = nb::cast<std::int64_t>(parts[4]);
        weight.columns = nb::cast<std::int64_t>(parts[5]);
        list.weights.push_back(weight);
    }
    list.gains = vectors(tuple[4]);
    list.biases = vectors(tuple[5]);
    list.params = vectors(tuple[6]);
    layer.program = tuple[7].is_none() ? nullptr : &nb::cast<const Blueprint&>(tuple[7]).program();
    const auto sizes = nb::cast<nb::tuple>(tuple[8]);
    layer.function = choice<Function>(sizes[0], FUNCTIONS, "function");
    layer.conv = {nb::cast<std::int64_t>(sizes[1]), nb::cast<std::int64_t>(sizes[2]),
                  nb::cast<std::int64_t>(sizes[3])};
    layer.eps = nb::cast<double>(tuple[9]);
    for (nb::handle each : nb::cast<nb::list>(tuple[10])) list.inside.push_back(layer_of(each));
    return list;
}

// A model with what Python must keep alive for it.
struct Held {
    nb::list alive;
    std::shared_ptr<const Model> model;

    explicit Held(nb::list layers, nb::list keep) : alive(std::move(keep)) {
        std::vector<LayerList> lists;
        for (nb::handle each : layers) lists.push_back(layer_of(each));
        alive.append(layers);
        model = std::make_shared<const Model>(lists);
    }
};

class Stream {
public:
    // `make(shape, dtype)` gives arrays for what comes out; `reads` is the dtype of what goes in.
    Stream(const Held& held, std::int64_t batch, nb::object make, nb::object dtype,
           nb::object reads)
        : alive_(held.alive),
          make_(std::move(make)),
          session_(held.model, batch),
          shape_(nb::make_tuple(batch, held.model->network().out)),
          in_{nullptr, std::move(reads), held.model->network().tokens ? 'q' : 'f'},
          out_{nullptr, std::move(dtype), 'f'} {
        const auto& widths = held.model->state_widths();
        std::int64_t numbers = 0;
        for (const std::int64_t width : widths) numbers += batch * width;
        before_.resize(std::size_t(numbers));
        float* before = before_.data();
        for (std::size_t i = 0; i < widths.size(); before += batch * widths[i++])
            kept_.push_back({session_.state(int(i)), before, widths[i]});
        given_[0] = made(shape_);
        const nb::object& array = given_[0].array;
        plain_ = Py_TYPE(array.ptr());
        if (Buffer(array, out_, true).told_by_fields(array, out_.dtype))
            in_.type = out_.type = plain_;
    }

    // Answers below 0 where nothing was done: x is of another kind or shape, another thread is in
    // here, or (if `check`) something finite made what is not: then `spoiled` less the row. Else an
    // array, or t * B + b of the first value that is not finite (if `check`), or of the first token
    // beyond the table.
    enum Answer { misfit = -1, busy = -2, spoiled = -3 };

    // x (B, ...) or (T, B, ...), C order; of the type that `make` gives: what another has beside
    // its numbers, as a mask, is not seen here.
    nb::object push(nb::handle given, bool check) {
        if (Py_TYPE(given.ptr()) != plain_) return nb::int_(int(misfit));
        const Buffer in(given, in_, false);
        if (!in.there) return nb::int_(int(misfit));
        const Network& network = session_.model().network();
        const int axes = network.tokens ? 1 : 2;
        const bool chunk = in.ndim == axes + 1;
        if (!chunk && in.ndim != axes) return nb::int_(int(misfit));
        if (in.shape[chunk] != session_.batch() || (axes == 2 && in.shape[chunk + 1] != network.in))
            return nb::int_(int(misfit));
        const std::int64_t steps = chunk ? in.shape[0] : 1;
        if (steps < 1) return nb::int_(int(misfit));
        const Turn turn(session_);
        if (!turn.mine) return nb::int_(int(busy));
        const void* x = network.tokens ? copied(in.data, steps) : in.data;
        const std::int64_t place = check || network.tokens ? first_bad(x, steps) : -1;
        if (place >= 0) return nb::int_(place);
        if (!chunk) return into(step(), steps, x, check);
        return into(made(nb::make_tuple(steps, session_.batch(), network.out)), steps, x, check);
    }

    bool busy_now() const { return session_.busy(); }
    bool enter() { return session_.enter(); }
    void leave() { session_.leave(); }

    nb::ndarray<nb::numpy, float, nb::ndim<2>> state(int i) const {
        const auto& widths = session_.model().state_widths();
        if (i < 0 || i >= int(widths.size()))
            throw nb::index_error("state must be one of the network's");
        return {session_.state(i),
                {std::size_t(session_.batch()), std::size_t(widths[std::size_t(i)])},
                nb::find(this)};
    }

private:
    struct Turn {
        explicit Turn(Session& session) : of(session), mine(session.enter()) {}
        ~Turn() {
            if (mine) of.leave();
        }
        Turn(const Turn&) = delete;
        Session& of;
        const bool mine;
    };

    // Tokens say where is read: they are looked at where nobody else can write.
    const void* copied(const void* tokens, std::int64_t steps) {
        const auto* from = static_cast<const std::int64_t*>(tokens);
        tokens_.assign(from, from + steps * session_.batch());
        return tokens_.data();
    }

    struct Output {
        nb::object array;
        float* data = nullptr;
    };

    Output made(const nb::object& shape) const {
        Output output{make_(shape, out_.dtype)};
        const Buffer buffer(output.array, out_, true);
        if (!buffer.there)
            throw std::invalid_argument("make must give a float32 array that can be written");
        output.data = static_cast<float*>(buffer.data);
        return output;
    }

    // Memory for one step: an array given before that nobody has any more, so that a loop allocates
    // nothing.
    const Output& step() {
#if !defined(Py_GIL_DISABLED)
        for (Output& given : given_) {
            if (given.array.is_valid() && Py_REFCNT(given.array.ptr()) == 1 && as_made(given))
                return given;
        }
#endif
        turn_ = !turn_;
        return given_[turn_] = made(shape_);
    }

    // Whoever had it may have given it another shape, dtype or memory.
    bool as_made(const Output& given) const {
        const Buffer buffer(given.array, out_, true);
        return buffer.there && buffer.data == given.data && buffer.ndim == 2 &&
               buffer.shape[0] == session_.batch() &&
               buffer.shape[1] == session_.model().network().out;
    }

    nb::object into(const Output& output, std::int64_t steps, const void* x, bool check) {
        std::int64_t row = -1;
        if (session_.work() * double(steps) < WORTH_A_RELEASE) {
            row = run(output.data, steps, x, check);
        } else {
            const nb::gil_scoped_release release;
            row = run(output.data, steps, x, check);
        }
        if (row >= 0) return nb::int_(int(spoiled) - row);
        return output.array;
    }

    // The first row whose state or output is no longer finite, if `check`; the state is then as it
    // was before.
    std::int64_t run(float* y, std::int64_t steps, const void* x, bool check) {
        if (!check) return session_.push(steps, x, y), -1;
        const std::int64_t rows = session_.batch(), out = session_.model().network().out;
        for (const Kept& part : kept_)
            std::memcpy(part.before, part.state, sizeof(float) * std::size_t(rows * part.width));
        session_.push(steps, x, y);
        const auto finite = chosen_isa().streaming.finite;
        bool fine = finite(y, steps * rows * out);
        for (const Kept& part : kept_) fine = fine && finite(part.state, rows * part.width);
        if (fine) return -1;
        std::int64_t first = strange(y, steps * rows, out);
        if (first >= 0) first %= rows;
        for (const Kept& part : kept_) {
            if (first < 0) first = strange(part.state, rows, part.width);
            std::memcpy(part.state, part.before, sizeof(float) * std::size_t(rows * part.width));
        }
        return first;
    }

    // The first of some rows with a number that is not finite.
    static std::int64_t strange(const void* numbers, std::int64_t rows, std::int64_t width) {
        const auto finite = chosen_isa().streaming.finite;
        if (finite(numbers, rows * width)) return -1;
        const auto* from = static_cast<const float*>(numbers);
        std::int64_t row = 0;
        while (finite(from + row * width, width)) ++row;
        return row;
    }

    // The first step and row, t * B + b, whose input is no number or no token.
    std::int64_t first_bad(const void* x, std::int64_t steps) const {
        const Network& network = session_.model().network();
        const std::int64_t rows = steps * session_.batch();
        if (network.tokens) {
            const auto* tokens = static_cast<const std::int64_t*>(x);
            for (std::int64_t r = 0; r < rows; ++r) {
                if (tokens[r] < 0 || tokens[r] >= network.in) return r;
            }
            return -1;
        }
        return strange(x, rows, network.in);
    }

    nb::object alive_, make_;
    Session session_;
    nb::object shape_;
    ArrayKind in_, out_;
    PyTypeObject* plain_ = nullptr;
    Output given_[2];
    bool turn_ = false;
    // Every array of the state, and what it was before a push.
    struct Kept {
        float *state, *before;
        std::int64_t width;
    };
    std::vector<Kept> kept_;
    std::vector<float> before_;
    std::vector<std::int64_t> tokens_;
};

double bandwidth(std::size_t bytes, double seconds) {
    const Memory memory(bytes);
    std::memset(memory.get(), 0, bytes);
    const nb::gil_scoped_release release;
    return chosen_isa().streaming.bandwidth(memory.get(), bytes, seconds);
}

}  // namespace

void bind_sessions(nb::module_& m) {
    nb::class_<Held>(m, "Model", "A network with its weights packed, for sessions.")
        .def(nb::init<nb::list, nb::list>(), nb::arg("layers"), nb::arg("keep"))
        .def_prop_ro(
            "bytes", [](const Held& self) { return self.model->bytes(); },
            "Of the packed weights.");
    nb::class_<Stream>(m, "Session", "Rows that stream through a model.")
        .def(nb::init<const Held&, std::int64_t, nb::object, nb::object, nb::object>(),
             nb::arg("model"), nb::arg("batch"), nb::arg("make"), nb::arg("dtype"),
             nb::arg("reads"))
        .def("push", &Stream::push, nb::arg("x").none(), nb::arg("check"),
             "Run steps; see native.pyi.")
        .def_prop_ro("busy", &Stream::busy_now, "Whether a thread is in it.")
        .def("enter", &Stream::enter, "Take the turn; false if another thread has it.")
        .def("leave", &Stream::leave, "Give the turn back.")
        .def("state", &Stream::state, nb::arg("i"), nb::rv_policy::reference_internal,
             "An array of the state, (B, width); its memory is the session's.");
    m.def("bandwidth", &bandwidth, nb::arg("bytes"), nb::arg("seconds"),
          "Bytes that one thread reads, in 1e9 a second, again and again from so many.");
    nb::list kinds;
    for (const char* name :
         {"embedding", "linear", "norm", "activation", "conv", "recurrent", "residual", "adaptive"})
        kinds.append(name);
    m.attr("KINDS") = nb::tuple(kinds);
}

}  // namespace recurra
