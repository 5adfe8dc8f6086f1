#include "common/args.h"

#include "common/text.h"

#define NAME_LIMIT 48 /* longer words are not compared with names */

/* What one parse works on. */
struct parse {
    const struct args_program *program;
    const struct args_verb *verb;
    int argc, at;
    char **argv;
    struct args found;
    struct buffer *out;
};

/* Insertions, deletions, replacements and swaps of neighbours that make `a` of `b`. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t rows[3][NAME_LIMIT + 1];
    size_t a_length = strlen(a), b_length = strlen(b);
    if (a_length > NAME_LIMIT || b_length > NAME_LIMIT) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= b_length; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a_length; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);
            best = MIN_OF(best, above[j] + 1);
            best = MIN_OF(best, row[j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                best = MIN_OF(best, above2[j - 2] + 1);
            }
            row[j] = best;
        }
    }
    return rows[a_length % 3][b_length];
}

struct nearest {
    const char *name; /* NULL: nothing is near */
    size_t distance;
};

static void consider(struct nearest *n, const char *word, const char *name)
{
    size_t length = strlen(word);
    size_t distance = edit_distance(word, name);
    size_t limit = MAX_OF(length, strlen(name)) / 3;
    if (length >= 2 && strncmp(word, name, length) == 0) {
        distance = 1; /* its beginning */
    }
    if (distance <= MAX_OF(limit, (size_t)1) && (n->name == NULL || distance < n->distance)) {
        *n = (struct nearest){name, distance};
    }
}

/* `word` as it may be shown on a terminal. */
static const char *shown(const char *word, char out[64])
{
    (void)text_copy(out, 64, word);
    text_clean(out);
    return out;
}

static int unknown_verb(const struct args_program *p, const char *word, struct buffer *out)
{
    struct nearest near = {0};
    char text[64];
    buffer_printf(out, "%s: unknown command \"%s\".", p->name, shown(word, text));
    for (const struct args_hint *h = p->hints; h != NULL && h->word != NULL; h++) {
        if (strcmp(h->word, word) == 0) {
            buffer_printf(out, " Use '%s'.\n", h->use);
            return ARGS_USAGE;
        }
    }
    for (const struct args_verb *verb = p->verbs; verb->name != NULL; verb++) {
        consider(&near, word, verb->name);
    }
    consider(&near, word, "help");
    if (near.name != NULL) {
        buffer_printf(out, " Did you mean \"%s\"?", near.name);
    }
    buffer_printf(out, " Run '%s --help' for the list.\n", p->name);
    return ARGS_USAGE;
}

static int unknown_option(struct parse *p, const char *word, size_t length)
{
    struct nearest near = {0};
    char name[64] = "", text[64];
    if (length < sizeof name) {
        memcpy(name, word, length);
        name[length] = '\0';
    }
    for (const struct args_option *o = p->verb->options; o->name != NULL; o++) {
        if (o->help != NULL) {
            consider(&near, name, o->name);
        }
    }
    consider(&near, name, "help");
    consider(&near, name, "version");
    buffer_printf(p->out, "%s: unknown option \"%s\" for \"%s\".", p->program->name,
                  shown(p->argv[p->at], text), p->verb->name);
    if (near.name != NULL && name[0] != '\0') {
        buffer_printf(p->out, " Did you mean \"--%s\"?", near.name);
    }
    buffer_printf(p->out, " Run '%s %s --help' for the list.\n", p->program->name, p->verb->name);
    return ARGS_USAGE;
}

static const struct args_verb *find_verb(const struct args_program *p, const char *name)
{
    for (const struct args_verb *verb = p->verbs; verb->name != NULL; verb++) {
        if (strcmp(verb->name, name) == 0) {
            return verb;
        }
    }
    return NULL;
}

static bool names_option(const struct args_option *o, const char *name, size_t length)
{
    return strncmp(o->name, name, length) == 0 && o->name[length] == '\0';
}

/* 0, or an error of text_parse_*. */
static int read_value(const struct args_option *o, const char *text, struct args_value *ret)
{
    struct args_value value = {.given = true, .text = text};
    int r = 0;
    switch (o->kind) {
    case ARGS_FLAG:
        ASSERT(text == NULL);
        break;
    case ARGS_TEXT:
        break;
    case ARGS_U64:
        r = text_parse_u64(text, o->max != 0 ? o->max : UINT64_MAX, &value.number);
        break;
    case ARGS_DOUBLE:
        r = text_parse_double(text, &value.real);
        break;
    case ARGS_SIZE:
        r = text_parse_size(text, &value.number);
        break;
    case ARGS_DURATION:
        r = text_parse_duration(text, &value.number);
        break;
    }
    if (r == 0) {
        *ret = value;
    }
    return r;
}

/* `r` is why it was refused. */
static int bad_value(struct parse *p, const struct args_option *o, const char *text, int r)
{
    static const char *const wanted[] = {
        [ARGS_FLAG] = "no value",
        [ARGS_TEXT] = "text",
        [ARGS_U64] = "a whole number",
        [ARGS_DOUBLE] = "a number like 2 or 0.5",
        [ARGS_SIZE] = "a size like 512M or 4GiB",
        [ARGS_DURATION] = "a duration like 250ms, 30s or 5m",
    };
    char clean[64];
    buffer_printf(p->out, "%s: ", p->program->name);
    if (text == NULL) {
        buffer_printf(p->out, "missing value for --%s", o->name);
    } else {
        buffer_printf(p->out, "invalid value \"%s\" for --%s%s", shown(text, clean), o->name,
                      r == -ERANGE ? ": too large" : "");
    }
    buffer_printf(p->out, ". It takes %s", wanted[o->kind]);
    if (o->kind == ARGS_U64 && o->max != 0) {
        buffer_printf(p->out, " from 0 to %llu", (unsigned long long)o->max);
    }
    buffer_printf(p->out, ". Run '%s %s --help' for more.\n", p->program->name, p->verb->name);
    return ARGS_USAGE;
}

/* `attached` is what stood behind '=' or the letter, or NULL. */
static int take_option(struct parse *p, const struct args_option *o, const char *attached)
{
    struct args_value *value = &p->found.values[o - p->verb->options];
    const char *next = p->at + 1 < p->argc ? p->argv[p->at + 1] : NULL;
    if (o->kind == ARGS_FLAG) {
        return attached != NULL ? bad_value(p, o, attached, -EINVAL) : read_value(o, NULL, value);
    }
    if (attached == NULL && o->value != NULL && o->value[0] == '[') {
        *value = (struct args_value){.given = true};
        if (next != NULL && o->kind != ARGS_TEXT && read_value(o, next, value) == 0) {
            p->at++;
        }
        return 0;
    }
    if (attached == NULL) {
        if (next == NULL) {
            return bad_value(p, o, NULL, -EINVAL);
        }
        attached = next;
        p->at++;
    }
    int r = read_value(o, attached, value);
    return r == 0 ? 0 : bad_value(p, o, attached, r);
}

static int take_long(struct parse *p, const char *name)
{
    size_t length = strcspn(name, "=");
    const char *attached = name[length] == '=' ? name + length + 1 : NULL;
    for (const struct args_option *o = p->verb->options; o->name != NULL; o++) {
        if (names_option(o, name, length)) {
            return take_option(p, o, attached);
        }
    }
    return unknown_option(p, name, length);
}

/* "-n 5", "-n5", and flags in a row: "-ab". */
static int take_letters(struct parse *p, const char *letters)
{
    for (; *letters != '\0'; letters++) {
        const struct args_option *o = p->verb->options;
        while (o->name != NULL && o->letter != *letters) {
            o++;
        }
        if (o->name == NULL) {
            return unknown_option(p, letters, 1);
        }
        if (o->kind != ARGS_FLAG) {
            return take_option(p, o, letters[1] != '\0' ? letters + 1 : NULL);
        }
        int r = take_option(p, o, NULL);
        if (r != 0) {
            return r;
        }
    }
    return 0;
}

static int usage(struct parse *p)
{
    buffer_printf(p->out, " Usage: %s %s%s%s%s\n", p->program->name, p->verb->name,
                  *p->verb->things != '\0' ? " " : "", p->verb->things,
                  p->verb->options->name != NULL ? " [OPTIONS]" : "");
    return ARGS_USAGE;
}

static int take_thing(struct parse *p, const char *text)
{
    if (p->found.thing_count == p->verb->max_things) {
        char clean[64];
        buffer_printf(p->out, "%s: unexpected argument: %s.", p->program->name, shown(text, clean));
        return usage(p);
    }
    p->found.things[p->found.thing_count++] = text;
    return 0;
}

static int too_few(struct parse *p)
{
    buffer_printf(p->out, "%s: missing argument: %s.", p->program->name, p->verb->things);
    return usage(p);
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static int show_version(const struct args_program *p, struct buffer *out)
{
    buffer_printf(out, "%s %s\n", p->name, DRT_VERSION);
    return ARGS_SHOW;
}

/* How many words an option that stands before the verb takes; any verb's table may know it. */
static int words_of_option(const struct args_program *p, const char *word)
{
    bool is_long = word[1] == '-';
    for (const struct args_verb *verb = p->verbs; verb->name != NULL; verb++) {
        for (const struct args_option *o = verb->options; o->name != NULL; o++) {
            bool same = is_long ? strcmp(o->name, word + 2) == 0
                                : o->letter != 0 && word[1] == o->letter && word[2] == '\0';
            if (same) {
                bool takes_next = o->kind != ARGS_FLAG && !(o->value != NULL && o->value[0] == '[');
                return takes_next ? 2 : 1;
            }
        }
    }
    return 1;
}

static bool is_option(const char *word)
{
    return word[0] == '-' && word[1] != '\0';
}

/* Where the verb stands; 0: nowhere. */
static int find_verb_word(const struct args_program *p, int argc, char **argv)
{
    int at = 1;
    while (at < argc && is_option(argv[at])) {
        if (strcmp(argv[at], "--") == 0) {
            return 0;
        }
        at += words_of_option(p, argv[at]);
    }
    return at < argc ? at : 0;
}

static int show_help(const struct args_program *p, const char *name, struct buffer *out)
{
    if (name == NULL || strcmp(name, "help") == 0) {
        args_overview(p, out);
        return ARGS_SHOW;
    }
    const struct args_verb *verb = find_verb(p, name);
    if (verb == NULL) {
        return unknown_verb(p, name, out);
    }
    args_help(p, verb, out);
    return ARGS_SHOW;
}

/* The lines that have no verb to run: help, --help, --version, nothing. Negative: there is a verb.
 */
static int parse_without_verb(const struct args_program *p, int argc, char **argv, int verb_at,
                              struct buffer *out)
{
    for (int i = 1; i < (verb_at != 0 ? verb_at : argc); i++) {
        if (is_help(argv[i])) {
            return show_help(p, verb_at != 0 ? argv[verb_at] : NULL, out);
        }
        if (strcmp(argv[i], "--version") == 0) {
            return show_version(p, out);
        }
    }
    if (verb_at == 0) {
        buffer_printf(out, "%s: missing command.\n\n", p->name);
        args_overview(p, out);
        return ARGS_USAGE;
    }
    if (strcmp(argv[verb_at], "help") == 0) {
        const char *topic =
            verb_at + 1 < argc && !is_option(argv[verb_at + 1]) ? argv[verb_at + 1] : NULL;
        return show_help(p, topic, out);
    }
    return find_verb(p, argv[verb_at]) != NULL ? -1 : unknown_verb(p, argv[verb_at], out);
}

/* 0, or an outcome that ends the parse. */
static int take_word(struct parse *p, bool *options_ended)
{
    const char *word = p->argv[p->at];
    if (*options_ended || !is_option(word)) {
        return take_thing(p, word);
    }
    if (strcmp(word, "--") == 0) {
        *options_ended = true;
        return 0;
    }
    if (is_help(word)) {
        args_help(p->program, p->verb, p->out);
        return ARGS_SHOW;
    }
    if (strcmp(word, "--version") == 0) {
        return show_version(p->program, p->out);
    }
    return word[1] == '-' ? take_long(p, word + 2) : take_letters(p, word + 1);
}

static void check_table(const struct args_verb *verb)
{
    size_t count = 0;
    while (verb->options[count].name != NULL) {
        count++;
    }
    ASSERT(count <= ARGS_OPTIONS_MAX && verb->max_things <= ARGS_THINGS_MAX);
}

int args_parse(const struct args_program *program, int argc, char **argv, struct args *ret,
               struct buffer *out)
{
    int verb_at = find_verb_word(program, argc, argv);
    int r = parse_without_verb(program, argc, argv, verb_at, out);
    if (r >= 0) {
        return r;
    }
    struct parse p = {.program = program, .argc = argc, .argv = argv, .out = out};
    bool options_ended = false;
    p.verb = p.found.verb = find_verb(program, argv[verb_at]);
    check_table(p.verb);
    for (p.at = 1; p.at < argc; p.at++) {
        r = p.at != verb_at ? take_word(&p, &options_ended) : 0;
        if (r != 0) {
            return r;
        }
    }
    if (p.found.thing_count < p.verb->min_things) {
        return too_few(&p);
    }
    *ret = p.found;
    return ARGS_RUN;
}

const struct args_value *args_get(const struct args *a, const char *option)
{
    const struct args_option *o = a->verb->options;
    while (o->name != NULL && strcmp(o->name, option) != 0) {
        o++;
    }
    ASSERT(o->name != NULL);
    return &a->values[o - a->verb->options];
}
