/*
 * The plumbing of drt.h: attributes, how a value is laid out, the program's table of tasks, and the
 * macros that drt.h's are made of. Nothing here is for users; include drt/drt.h.
 */
#ifndef DRT_DETAIL_H
#define DRT_DETAIL_H

#ifndef DRT_H
#error "include drt/drt.h"
#endif

/* As if it were installed: the compiler then shows the caller's line alone, not these macros. */
#pragma GCC system_header

#if !defined(__GNUC__) && !defined(__clang__)
#error "drt.h needs gcc or clang (attributes constructor and cleanup)"
#endif

#define DRT_CHECKED_      __attribute__((__warn_unused_result__))
#define DRT_PRINTF_(f, a) __attribute__((__format__(__printf__, f, a)))
#define DRT_CONSTRUCTOR_  __attribute__((__constructor__))
#define DRT_DESTRUCTOR_   __attribute__((__destructor__))
#define DRT_CLEANUP_(fn)  __attribute__((__cleanup__(fn)))
#define DRT_UNUSED_       __attribute__((__unused__))
#define DRT_NORETURN_     __attribute__((__noreturn__))
#define DRT_API           __attribute__((__visibility__("default")))
#define DRT_INLINE_       static inline __attribute__((__always_inline__))

#ifdef __cplusplus
#define DRT_ZERO_ = {} /* designated initialisers warn of nothing, a plain declaration is zero */
#define DRT_INT_ : int32_t
extern "C" {
#else
#define DRT_ZERO_
#define DRT_INT_
#endif

/* A compiler that finds a bare 5 or "x" where one of our structs belongs takes it for the first
 * field. The first fields of drt_span and drt_value are pointers to these types, which do not
 * exist: their names are what the compiler then says. */
struct drt_a_number_is_no_time_use_drt_ms_or_drt_seconds;
struct drt_wrap_it_in_drt_i64_drt_f64_drt_str_drt_of_or_the_like;

struct drt_ref;
struct drt_call;
struct drt_span;
struct drt_config;
struct drt_error;
struct drt_options;
struct drt_map_options;
struct drt_work;
struct drt_node;

/* ---- values ---- */

enum drt_kind_ DRT_INT_ { DRT_END_ = 0, DRT_RECORDS_ = 5, DRT_OPTIONS_ = 9 };

struct drt_value { /* 40 bytes, its layout frozen */
    __extension__ union {
        const struct drt_wrap_it_in_drt_i64_drt_f64_drt_str_drt_of_or_the_like *no_value_;
        const void *data_; /* str, bytes, records, options: borrowed until the call returns */
    };
    uint64_t size_; /* bytes; options: sizeof the struct */
    union {
        int64_t i;
        double f;
        uint64_t h[2]; /* of, ref: the handle; records: name and size of the type */
    } u_;
    uint32_t kind_;
    uint32_t count_; /* DRT_OF: 1 = given away */
};

static inline struct drt_value drt_make_(uint32_t kind, const void *data, uint64_t size)
{
    struct drt_value v;
    v.data_ = data;
    v.size_ = size;
    v.u_.h[0] = 0;
    v.u_.h[1] = 0;
    v.kind_ = kind;
    v.count_ = 0;
    return v;
}

static inline struct drt_value drt_end_(void)
{
    return drt_make_(DRT_END_, NULL, 0);
}

static inline struct drt_value drt_records_(const char *type, size_t type_size, const void *data,
                                            size_t count)
{
    /* A count that overflows becomes a size that is refused. */
    uint64_t size =
        type_size != 0 && count > UINT64_MAX / type_size ? UINT64_MAX : (uint64_t)count * type_size;
    struct drt_value v = drt_make_(DRT_RECORDS_, data, size);
    v.u_.h[0] = (uint64_t)(uintptr_t)type;
    v.u_.h[1] = type_size;
    return v;
}

static inline struct drt_value drt_options_(const struct drt_options *options, size_t size)
{
    return drt_make_(DRT_OPTIONS_, options, size);
}

#ifdef __cplusplus
#define DRT_FLAT_(T)    static_cast<size_t>(sizeof(T[__is_trivially_copyable(T) ? 1 : -1]))
#define DRT_IN_(T, p)   static_cast<const T *>(p)
#define DRT_OUT_(T, p)  static_cast<T *>(p)
#define DRT_CAST_(T, x) static_cast<T>(x)
#define DRT_VIEW_(T, p) reinterpret_cast<const void **>(static_cast<const T **>(p))
#else
/* A pointer to anything but T or void becomes a struct, which no function takes. */
struct drt_this_pointer_is_to_another_type {
    char unused_;
};
#define DRT_FLAT_(T) sizeof(T)
#define DRT_IN_(T, p)                                                                              \
    __extension__ _Generic((p), T *: (p), const T *: (p), void *: (p), const void *: (p),          \
                           default: (struct drt_this_pointer_is_to_another_type){0})
#define DRT_OUT_(T, p)                                                                             \
    __extension__ _Generic((p), T *: (p), void *: (p),                                             \
                           default: (struct drt_this_pointer_is_to_another_type){0})
#define DRT_CAST_(T, x) ((T)(x))
#define DRT_VIEW_(T, p)                                                                            \
    __extension__ _Generic((p), const T **: (const void **)(p),                         \
                           default: (struct drt_this_pointer_is_to_another_type){0})
#endif

/* ---- the functions behind the macros ---- */

DRT_API DRT_NORETURN_ void drt_die_(const char *file, int line, const char *expr, int rc);
static inline void drt_check_(int rc, const char *file, int line, const char *expr)
{
    if (rc != 0) {
        drt_die_(file, line, expr, rc);
    }
}

DRT_API int drt_init_(const struct drt_config *config, size_t config_size,
                      int header_version) DRT_CHECKED_;
DRT_API const void *drt_arg_records_(struct drt_call *call, size_t index, const char *type,
                                     size_t type_size, size_t *ret_count);
DRT_API void *drt_return_records_(struct drt_call *call, size_t index, const char *type,
                                  size_t type_size, size_t count);
DRT_API void drt_submit_into_(struct drt_ref *refs, size_t count, int (*task)(struct drt_call *),
                              const char *name, const struct drt_value *values);
DRT_API int drt_get_records_(struct drt_ref ref, const char *type, size_t type_size,
                             const void **ret, size_t *ret_count) DRT_CHECKED_;
DRT_API int drt_get_record_(struct drt_ref ref, const char *type, size_t type_size,
                            void *ret) DRT_CHECKED_;
DRT_API int drt_get_error_(struct drt_ref ref, struct drt_error *ret, size_t ret_size);
DRT_API int drt_map_(int (*task)(struct drt_call *), const char *name, const struct drt_value *rows,
                     size_t columns, size_t count, struct drt_ref *refs,
                     const struct drt_map_options *options, size_t options_size,
                     size_t each_size) DRT_CHECKED_;
DRT_API int drt_scatter_gather_(const struct drt_work *work, size_t count, struct drt_ref *refs,
                                const struct drt_map_options *options, size_t options_size,
                                size_t each_size) DRT_CHECKED_;
DRT_API int drt_nodes_(struct drt_node *ret, size_t capacity, size_t node_size,
                       size_t *ret_count) DRT_CHECKED_;

struct drt_scope_ {
    uint64_t mark;
};
DRT_API struct drt_scope_ drt_scope_enter_(void);
DRT_API void drt_scope_leave_(struct drt_scope_ *scope);

/* ---- the program's table of tasks, filled before main() ---- */

struct drt_entry_ {
    struct drt_entry_ *next;
    const char *name, *file;
    int (*fn)(struct drt_call *);
    const unsigned char *kinds; /* terminated by 0 */
    uint64_t reserved[4];
    uint32_t line, what; /* what: 1 task */
};
DRT_API void drt_register_(struct drt_entry_ *entry);
DRT_API void drt_unregister_(struct drt_entry_ *entry);

#define DRT_FIRST_(first, ...)          first
#define DRT_SECOND_(first, second, ...) second
#define DRT_REST_(first, ...)           __VA_ARGS__

#define DRT_ENTRY_(name, what, ...)                                                                \
    static const unsigned char name##_drt_kinds_[] = {DRT_REST_(__VA_ARGS__, 0)};                  \
    static struct drt_entry_ name##_drt_entry_ = {                                                 \
        NULL, #name, __FILE__, name, name##_drt_kinds_, {0, 0, 0, 0}, __LINE__, what};             \
    DRT_CONSTRUCTOR_ static void name##_drt_in_(void)                                              \
    {                                                                                              \
        drt_register_(&name##_drt_entry_);                                                         \
    }                                                                                              \
    DRT_DESTRUCTOR_ static void name##_drt_out_(void)                                              \
    {                                                                                              \
        drt_unregister_(&name##_drt_entry_);                                                       \
    }

/* The first five kinds as the size of an array that is declared and never defined: it travels with
 * the name, a header that disagrees with the definition does not compile, and calls are checked by
 * the optimiser (as _FORTIFY_SOURCE does). */
#define DRT_SIG_1_(ignored, a, b, c, d, e, ...)                                                    \
    (1u << 25 | DRT_S_(a) | DRT_S_(b) << 5 | DRT_S_(c) << 10 | DRT_S_(d) << 15 | DRT_S_(e) << 20)
#define DRT_S_(kind) (((kind)&15u) | ((kind)&0x80u) >> 3)
#define DRT_SIG_(name, ...)                                                                        \
    extern char name##_must_be_a_DRT_TASK_[DRT_SIG_1_(__VA_ARGS__, 0, 0, 0, 0, 0, 0)]

#define DRT_DECLARE_1_(type, name, ...) DRT_DECLARE_2_(type, name, __VA_ARGS__)
#define DRT_DECLARE_2_(type, name, ...)                                                            \
    type name;                                                                                     \
    DRT_SIG_(name, __VA_ARGS__)

#define DRT_TASK_1_(name, call, ...) DRT_TASK_2_(name, call, __VA_ARGS__)
#define DRT_TASK_2_(name, call, ...)                                                               \
    drt_task_fn name;                                                                              \
    DRT_SIG_(name, __VA_ARGS__);                                                                   \
    DRT_ENTRY_(name, 1, __VA_ARGS__)                                                               \
    int name(struct drt_call *call DRT_UNUSED_)

/* ---- what the compiler can see of a call ---- */

#if defined(__OPTIMIZE__) && defined(__has_attribute)
#if __has_attribute(__error__)
#define DRT_FORTIFY_ 1
void drt_misfit_(void)
    __attribute__((__nothrow__,
                   __error__("these arguments do not fit the kinds that this task declares")));
#endif
#endif
#ifndef DRT_FORTIFY_
#define drt_misfit_() ((void)0)
#endif

DRT_INLINE_ bool drt_unfit_(uint64_t want, uint32_t have)
{
    return (want & 15) == 0 || (have != 6u && (want & 15) != 15u && (want & 15) != have);
}

/* True if the compiler can see that the values do not fit; the library checks all calls again. */
DRT_INLINE_ bool drt_seen_(uint64_t sig, const struct drt_value *v, size_t n)
{
#ifdef DRT_FORTIFY_
    size_t k = n - (n > 0 && v[n - 1].kind_ == DRT_OPTIONS_);
    uint64_t a = sig & 31, b = a & 16 ? a : sig >> 5 & 31, c = b & 16 ? b : sig >> 10 & 31,
             d = c & 16 ? c : sig >> 15 & 31, e = d & 16 ? d : sig >> 20 & 31;
    uint64_t next = k == 0 ? a : k == 1 ? b : k == 2 ? c : k == 3 ? d : k == 4 ? e : 0;
    int bad = (next != 0 && (next & 16) == 0) || (k > 0 && drt_unfit_(a, v[0].kind_)) ||
              (k > 1 && drt_unfit_(b, v[1].kind_)) || (k > 2 && drt_unfit_(c, v[2].kind_)) ||
              (k > 3 && drt_unfit_(d, v[3].kind_)) || (k > 4 && drt_unfit_(e, v[4].kind_));
    return __builtin_constant_p(bad) && bad;
#else
    (void)sig;
    (void)v;
    (void)n;
    return false;
#endif
}

#ifdef __cplusplus
} /* extern "C" */

template <class T> inline const T *drt_addr_(const T &t)
{
    return &t;
}
inline drt_value drt_only_(drt_value v)
{
    return v;
}
template <class T> inline drt_value drt_only_(const T &)
{
    static_assert(sizeof(T) == 0, "this is no value: wrap it in drt_i64(), drt_f64(), drt_str(), "
                                  "drt_bytes(), drt_of() or the like");
    return drt_end_();
}
/* Of `&name` the last token is the name. */
template <size_t N> char (&drt_sig_(const char (&)[N]))[N];
template <size_t N> char (&drt_sig_(const char (*)[N]))[N];
template <size_t N> struct drt_values_ {
    drt_value v[N];
};
template <class F, class... V> DRT_INLINE_ drt_values_<sizeof...(V) + 1> drt_list_(F *, V... v)
{
    return {{drt_only_(v)..., drt_end_()}};
}
template <size_t N> DRT_INLINE_ const drt_value *drt_fit_(uint64_t sig, const drt_values_<N> &l)
{
    if (drt_seen_(sig, l.v, N - 1)) {
        drt_misfit_();
    }
    return l.v;
}
template <class R> struct drt_resource_list_ {
    R r[33];
};
template <class R> inline const R *drt_resource_first_(const drt_resource_list_<R> &l)
{
    return l.r;
}
/* Designated initialisers are of C++20; gcc and clang know them in C++17. */
#define DRT_UNNAMED_(type, ...)  drt_addr_(__extension__ type{__VA_ARGS__})
#define DRT_STRICTLY_(type, ...) DRT_UNNAMED_(type, __VA_ARGS__)
#define DRT_RESOURCES_(...)      drt_resource_first_<drt_resource>({{__VA_ARGS__, {nullptr, 0}}})

#define DRT_DO_(name, call, ...) call
#define DRT_AT_(name, ...)                                                                         \
    drt_fit_(sizeof(drt_sig_(name##_must_be_a_DRT_TASK_)), drt_list_(__VA_ARGS__))
#define DRT_VALUE_(x) drt_only_(x)
#else
/* A function, because no compiler converts anything to a struct for it: each value of a call that
 * is none is an error of its own, in the caller's line. */
DRT_INLINE_ struct drt_value
drt_is_no_value_wrap_it_in_drt_i64_drt_str_drt_of_or_the_like_(struct drt_value v)
{
    return v;
}
#define DRT_VALUE_(x) drt_is_no_value_wrap_it_in_drt_i64_drt_str_drt_of_or_the_like_(x)

/* The type is an array of the signature's size, or a pointer to one: of `&name` the last token is
 * the name. */
#define DRT_DO_(name, call, ...)                                                                   \
    __extension__({                                                                                \
        typedef __typeof__(name##_must_be_a_DRT_TASK_) drt_sig_;                                   \
        const struct drt_value drt_list_[] = {DRT_EACH_(DRT_REST_(__VA_ARGS__, drt_end_()))};      \
        if (drt_seen_(sizeof(drt_sig_) == sizeof(void *) ? sizeof **(drt_sig_ *)0                  \
                                                         : sizeof(drt_sig_),                       \
                      drt_list_, sizeof drt_list_ / sizeof drt_list_[0] - 1)) {                    \
            drt_misfit_();                                                                         \
        }                                                                                          \
        call;                                                                                      \
    })
#define DRT_AT_(name, ...) drt_list_

/* Nothing here is evaluated: it is compiled a second time, where a number for a pointer (which is
 * what a number for a span is) is an error and not the warning that C compilers make of it. */
#define DRT_STRICT_(type, ...)                                                                     \
    sizeof(__extension__({                                                                         \
        _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic error \"-Wint-conversion\"")        \
            const struct type drt_strict_ = {__VA_ARGS__};                                         \
        _Pragma("GCC diagnostic pop")(void) & drt_strict_;                                         \
        0;                                                                                         \
    }))
#define DRT_UNNAMED_(type, ...) (&(const struct type){__VA_ARGS__})
#define DRT_RESOURCES_(...)     ((const struct drt_resource[]){__VA_ARGS__, {NULL, 0}})
#define DRT_STRICTLY_(type, ...)                                                                   \
    (&((const struct type *)DRT_UNNAMED_(type, __VA_ARGS__))[0 * DRT_STRICT_(type, __VA_ARGS__)])
#endif

#define DRT_PASTE_(a, b)    DRT_PASTE_1_(a, b)
#define DRT_PASTE_1_(a, b)  a##b
#define DRT_NEW_NAME_(stem) DRT_PASTE_(stem, __COUNTER__)

/* DRT_VALUE_ round each of up to 16 arguments; further ones (to 62 in all) are left as they are. */
#define DRT_PICK_(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, \
                  a19, a20, a21, a22, a23, a24, a25, a26, a27, a28, a29, a30, a31, a32, a33, a34,  \
                  a35, a36, a37, a38, a39, a40, a41, a42, a43, a44, a45, a46, a47, a48, a49, a50,  \
                  a51, a52, a53, a54, a55, a56, a57, a58, a59, a60, a61, a62, a63, a64, chosen,    \
                  ...)                                                                             \
    chosen
#define DRT_EACH_(...)                                                                             \
    DRT_PICK_(__VA_ARGS__, DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_,        \
              DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_,        \
              DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_,        \
              DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_,        \
              DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_,        \
              DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_,        \
              DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_,        \
              DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_, DRT_EACH_M_,        \
              DRT_EACH_M_, DRT_EACH_16_, DRT_EACH_15_, DRT_EACH_14_, DRT_EACH_13_, DRT_EACH_12_,   \
              DRT_EACH_11_, DRT_EACH_10_, DRT_EACH_9_, DRT_EACH_8_, DRT_EACH_7_, DRT_EACH_6_,      \
              DRT_EACH_5_, DRT_EACH_4_, DRT_EACH_3_, DRT_EACH_2_, DRT_EACH_1_, 0)                  \
    (__VA_ARGS__)
#define DRT_EACH_1_(a)          DRT_VALUE_(a)
#define DRT_EACH_2_(a, b)       DRT_VALUE_(a), DRT_VALUE_(b)
#define DRT_EACH_3_(a, b, c)    DRT_VALUE_(a), DRT_VALUE_(b), DRT_VALUE_(c)
#define DRT_EACH_4_(a, b, c, d) DRT_VALUE_(a), DRT_VALUE_(b), DRT_VALUE_(c), DRT_VALUE_(d)
#define DRT_EACH_5_(a, b, c, d, e)                                                                 \
    DRT_VALUE_(a), DRT_VALUE_(b), DRT_VALUE_(c), DRT_VALUE_(d), DRT_VALUE_(e)
#define DRT_EACH_6_(a, b, c, d, e, f)                                                              \
    DRT_VALUE_(a), DRT_VALUE_(b), DRT_VALUE_(c), DRT_VALUE_(d), DRT_VALUE_(e), DRT_VALUE_(f)
#define DRT_EACH_7_(a, b, c, d, e, f, g)                                                           \
    DRT_VALUE_(a), DRT_VALUE_(b), DRT_VALUE_(c), DRT_VALUE_(d), DRT_VALUE_(e), DRT_VALUE_(f),      \
        DRT_VALUE_(g)
#define DRT_EACH_8_(a, b, c, d, e, f, g, h)                                                        \
    DRT_VALUE_(a), DRT_VALUE_(b), DRT_VALUE_(c), DRT_VALUE_(d), DRT_VALUE_(e), DRT_VALUE_(f),      \
        DRT_VALUE_(g), DRT_VALUE_(h)
#define DRT_EACH_9_(a, b, c, d, e, f, g, h, i)                                                     \
    DRT_VALUE_(a), DRT_VALUE_(b), DRT_VALUE_(c), DRT_VALUE_(d), DRT_VALUE_(e), DRT_VALUE_(f),      \
        DRT_VALUE_(g), DRT_VALUE_(h), DRT_VALUE_(i)
#define DRT_EACH_10_(a, b, c, d, e, f, g, h, i, j)                                                 \
    DRT_VALUE_(a), DRT_VALUE_(b), DRT_VALUE_(c), DRT_VALUE_(d), DRT_VALUE_(e), DRT_VALUE_(f),      \
        DRT_VALUE_(g), DRT_VALUE_(h), DRT_VALUE_(i), DRT_VALUE_(j)
#define DRT_EACH_11_(a, b, c, d, e, f, g, h, i, j, k)                                              \
    DRT_VALUE_(a), DRT_VALUE_(b), DRT_VALUE_(c), DRT_VALUE_(d), DRT_VALUE_(e), DRT_VALUE_(f),      \
        DRT_VALUE_(g), DRT_VALUE_(h), DRT_VALUE_(i), DRT_VALUE_(j), DRT_VALUE_(k)
#define DRT_EACH_12_(a, b, c, d, e, f, g, h, i, j, k, l)                                           \
    DRT_VALUE_(a), DRT_VALUE_(b), DRT_VALUE_(c), DRT_VALUE_(d), DRT_VALUE_(e), DRT_VALUE_(f),      \
        DRT_VALUE_(g), DRT_VALUE_(h), DRT_VALUE_(i), DRT_VALUE_(j), DRT_VALUE_(k), DRT_VALUE_(l)
#define DRT_EACH_13_(a, b, c, d, e, f, g, h, i, j, k, l, m)                                        \
    DRT_VALUE_(a), DRT_VALUE_(b), DRT_VALUE_(c), DRT_VALUE_(d), DRT_VALUE_(e), DRT_VALUE_(f),      \
        DRT_VALUE_(g), DRT_VALUE_(h), DRT_VALUE_(i), DRT_VALUE_(j), DRT_VALUE_(k), DRT_VALUE_(l),  \
        DRT_VALUE_(m)
#define DRT_EACH_14_(a, b, c, d, e, f, g, h, i, j, k, l, m, n)                                     \
    DRT_VALUE_(a), DRT_VALUE_(b), DRT_VALUE_(c), DRT_VALUE_(d), DRT_VALUE_(e), DRT_VALUE_(f),      \
        DRT_VALUE_(g), DRT_VALUE_(h), DRT_VALUE_(i), DRT_VALUE_(j), DRT_VALUE_(k), DRT_VALUE_(l),  \
        DRT_VALUE_(m), DRT_VALUE_(n)
#define DRT_EACH_15_(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o)                                  \
    DRT_VALUE_(a), DRT_VALUE_(b), DRT_VALUE_(c), DRT_VALUE_(d), DRT_VALUE_(e), DRT_VALUE_(f),      \
        DRT_VALUE_(g), DRT_VALUE_(h), DRT_VALUE_(i), DRT_VALUE_(j), DRT_VALUE_(k), DRT_VALUE_(l),  \
        DRT_VALUE_(m), DRT_VALUE_(n), DRT_VALUE_(o)
#define DRT_EACH_16_(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)                               \
    DRT_VALUE_(a), DRT_VALUE_(b), DRT_VALUE_(c), DRT_VALUE_(d), DRT_VALUE_(e), DRT_VALUE_(f),      \
        DRT_VALUE_(g), DRT_VALUE_(h), DRT_VALUE_(i), DRT_VALUE_(j), DRT_VALUE_(k), DRT_VALUE_(l),  \
        DRT_VALUE_(m), DRT_VALUE_(n), DRT_VALUE_(o), DRT_VALUE_(p)
#define DRT_EACH_M_(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ...)                           \
    DRT_VALUE_(a), DRT_VALUE_(b), DRT_VALUE_(c), DRT_VALUE_(d), DRT_VALUE_(e), DRT_VALUE_(f),      \
        DRT_VALUE_(g), DRT_VALUE_(h), DRT_VALUE_(i), DRT_VALUE_(j), DRT_VALUE_(k), DRT_VALUE_(l),  \
        DRT_VALUE_(m), DRT_VALUE_(n), DRT_VALUE_(o), DRT_VALUE_(p), __VA_ARGS__

#define DRT_SUBMIT_(name, ...) DRT_SUBMIT_1_(name, __VA_ARGS__)
#define DRT_SUBMIT_1_(name, ...)                                                                   \
    DRT_DO_(name, drt_submit_(name, #name, DRT_AT_(name, __VA_ARGS__)), __VA_ARGS__)
#define DRT_INTO_(refs, n, name, ...) DRT_INTO_1_(refs, n, name, __VA_ARGS__)
#define DRT_INTO_1_(refs, n, name, ...)                                                            \
    DRT_DO_(name, drt_submit_into_((refs), (n), name, #name, DRT_AT_(name, __VA_ARGS__)),          \
            __VA_ARGS__)
#define DRT_WORK_1_(task, ...)                                                                     \
    {                                                                                              \
        task, #task,                                                                               \
        {                                                                                          \
            DRT_EACH_(DRT_REST_(__VA_ARGS__, drt_end_()))                                          \
        }                                                                                          \
    }

#define DRT_SCOPE_(scope, once)                                                                    \
    for (struct drt_scope_ scope DRT_CLEANUP_(drt_scope_leave_) = drt_scope_enter_(),              \
                                 *once = &scope;                                                   \
         once != NULL; once = NULL)

#endif /* DRT_DETAIL_H */
