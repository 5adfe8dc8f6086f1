#include "common/args_text.h"

static const struct args_option EVERYWHERE[] = {
    {.name = "help", .letter = 'h', .help = "show this"},
    {.name = "version", .help = "show the version"},
    {.name = NULL},
};

/* The first one from here on that people should see. */
static const struct args_option *shown(const struct args_option *option)
{
    while (option->name != NULL && option->help == NULL) {
        option++;
    }
    return option;
}

static size_t options_width(const struct args_option *options, size_t width)
{
    for (options = shown(options); options->name != NULL; options = shown(options + 1)) {
        size_t own =
            strlen(options->name) + (options->value != NULL ? strlen(options->value) + 1 : 0);
        width = MAX_OF(width, own);
    }
    return width;
}

static void write_options(const struct args_option *options, size_t width, struct buffer *out)
{
    for (options = shown(options); options->name != NULL; options = shown(options + 1)) {
        if (options->letter != 0) {
            buffer_printf(out, "  -%c, ", options->letter);
        } else {
            buffer_append_text(out, "      ");
        }
        bool has_value = options->value != NULL;
        size_t own = strlen(options->name) + (has_value ? strlen(options->value) + 1 : 0);
        buffer_printf(out, "--%s%s%s%*s%s\n", options->name, has_value ? " " : "",
                      has_value ? options->value : "", (int)(width - own + 3), "", options->help);
    }
}

void args_help(const struct args_program *p, const struct args_verb *verb, struct buffer *out)
{
    bool has_things = *verb->things != '\0';
    buffer_printf(out, "%s %s: %s\n\n", p->name, verb->name, verb->help);
    buffer_printf(out, "Usage: %s %s%s%s%s\n\n", p->name, verb->name, has_things ? " " : "",
                  verb->things, verb->options->name != NULL ? " [OPTIONS]" : "");
    size_t width = options_width(verb->options, options_width(EVERYWHERE, 0));
    buffer_append_text(out, "Options:\n");
    write_options(verb->options, width, out);
    write_options(EVERYWHERE, width, out);
    buffer_append_text(out, "\nExamples:\n");
    for (size_t i = 0; i < ARRAY_SIZE(verb->example); i++) {
        if (verb->example[i] != NULL) {
            buffer_printf(out, "  %s\n", verb->example[i]);
        }
    }
}

static size_t verb_size(const struct args_verb *verb)
{
    return strlen(verb->name) + (*verb->things != '\0' ? strlen(verb->things) + 1 : 0);
}

void args_overview(const struct args_program *p, struct buffer *out)
{
    size_t width = strlen("help [COMMAND]");
    for (const struct args_verb *verb = p->verbs; verb->name != NULL; verb++) {
        width = MAX_OF(width, verb_size(verb));
    }
    buffer_printf(out, "%s: %s\n\nUsage: %s COMMAND [ARGUMENT] [OPTIONS]\n\n", p->name, p->help,
                  p->name);
    for (const struct args_verb *verb = p->verbs; verb->name != NULL; verb++) {
        buffer_printf(out, "  %s%s%s%*s%s\n", verb->name, *verb->things != '\0' ? " " : "",
                      verb->things, (int)(width - verb_size(verb) + 3), "", verb->help);
    }
    buffer_printf(out, "  help [COMMAND]%*sshow the options and examples of a command\n",
                  (int)(width - strlen("help [COMMAND]") + 3), "");
}

/* The name of a shell function for the program: "_drt_head". */
static void write_function_name(const struct args_program *p, struct buffer *out)
{
    buffer_append_text(out, "_");
    for (const char *c = p->name; *c != '\0'; c++) {
        char named = *c == '-' ? '_' : *c;
        buffer_append(out, &named, 1);
    }
}

static void write_verb_names(const struct args_program *p, struct buffer *out)
{
    for (const struct args_verb *verb = p->verbs; verb->name != NULL; verb++) {
        buffer_printf(out, "%s ", verb->name);
    }
    buffer_append_text(out, "help");
}

static void write_bash(const struct args_program *p, struct buffer *out)
{
    buffer_printf(out, "# bash completion of %s\n", p->name);
    write_function_name(p, out);
    buffer_append_text(out, "()\n{\n    local word=\"${COMP_WORDS[COMP_CWORD]}\" words=\"\"\n"
                            "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        words=\"");
    write_verb_names(p, out);
    buffer_append_text(out,
                       " --help --version\"\n    else\n        case \"${COMP_WORDS[1]}\" in\n");
    for (const struct args_verb *verb = p->verbs; verb->name != NULL; verb++) {
        buffer_printf(out, "        %s) words=\"", verb->name);
        for (const struct args_option *o = shown(verb->options); o->name != NULL;
             o = shown(o + 1)) {
            buffer_printf(out, "--%s ", o->name);
        }
        buffer_append_text(out, "--help --version\" ;;\n");
    }
    buffer_append_text(out, "        help) words=\"");
    write_verb_names(p, out);
    /* Words that begin with no '-' are things: files, where the table says nothing. */
    buffer_append_text(out, "\" ;;\n        esac\n    fi\n    COMPREPLY=()\n"
                            "    if [ \"$COMP_CWORD\" -eq 1 ] || [ \"${COMP_WORDS[1]}\" = help ] ||"
                            " [ \"${word:0:1}\" = - ]; then\n"
                            "        COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n    fi\n}\n"
                            "complete -o default -F ");
    write_function_name(p, out);
    buffer_printf(out, " %s\n", p->name);
}

/* Text within single quotes, where zsh gives ':', '[' and ']' a meaning. */
static void write_zsh_text(const char *text, struct buffer *out)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            buffer_append_text(out, "'\\''");
        } else {
            if (strchr(":[]", *text) != NULL) {
                buffer_append_text(out, "\\");
            }
            buffer_append(out, text, 1);
        }
    }
}

static void write_zsh_options(const struct args_option *options, struct buffer *out)
{
    for (options = shown(options); options->name != NULL; options = shown(options + 1)) {
        bool optional = options->value != NULL && options->value[0] == '[';
        buffer_printf(out, " \\\n            '--%s%s[", options->name,
                      options->value == NULL ? ""
                      : optional             ? "=-"
                                             : "=");
        write_zsh_text(options->help, out);
        buffer_append_text(out, "]");
        if (options->value != NULL) {
            buffer_append_text(out, optional ? "::" : ":");
            write_zsh_text(options->value, out);
            buffer_append_text(out, ":_files");
        }
        buffer_append_text(out, "'");
    }
}

static void write_zsh(const struct args_program *p, struct buffer *out)
{
    buffer_printf(out, "#compdef %s\n# zsh completion of %s\n", p->name, p->name);
    write_function_name(p, out);
    buffer_append_text(out, "()\n{\n    local -a verbs=(\n");
    for (const struct args_verb *verb = p->verbs; verb->name != NULL; verb++) {
        buffer_printf(out, "        '%s:", verb->name);
        write_zsh_text(verb->help, out);
        buffer_append_text(out, "'\n");
    }
    buffer_append_text(out, "        'help:show the options and examples of a command'\n    )\n"
                            "    if (( CURRENT == 2 )); then\n        _describe verb verbs\n"
                            "        return\n    fi\n    case \"$words[2]\" in\n"
                            "    help) _describe verb verbs ;;\n");
    for (const struct args_verb *verb = p->verbs; verb->name != NULL; verb++) {
        buffer_printf(out,
                      "    %s)\n        shift words\n        (( CURRENT-- ))\n        _arguments",
                      verb->name);
        write_zsh_options(verb->options, out);
        write_zsh_options(EVERYWHERE, out);
        buffer_append_text(out, " \\\n            '*:thing:_files' ;;\n");
    }
    buffer_append_text(out, "    esac\n}\n");
    write_function_name(p, out);
    buffer_append_text(out, " \"$@\"\n");
}

void args_completion(const struct args_program *p, const char *shell, struct buffer *out)
{
    if (strcmp(shell, "zsh") == 0) {
        write_zsh(p, out);
    } else {
        ASSERT(strcmp(shell, "bash") == 0);
        write_bash(p, out);
    }
}

static void write_roff(const char *text, struct buffer *out)
{
    for (; *text != '\0'; text++) {
        if (*text == '-') {
            buffer_append_text(out, "\\-");
        } else if (*text == '\\') {
            buffer_append_text(out, "\\e");
        } else if (*text == '\'') {
            buffer_append_text(out, "\\(aq");
        } else {
            buffer_append(out, text, 1);
        }
    }
}

static void write_roff_options(const struct args_option *options, struct buffer *out)
{
    for (options = shown(options); options->name != NULL; options = shown(options + 1)) {
        buffer_append_text(out, ".TP\n\\fB");
        if (options->letter != 0) {
            buffer_printf(out, "\\-%c\\fR, \\fB", options->letter);
        }
        buffer_append_text(out, "\\-\\-");
        write_roff(options->name, out);
        buffer_append_text(out, "\\fR");
        if (options->value != NULL) {
            buffer_append_text(out, " \\fI");
            write_roff(options->value, out);
            buffer_append_text(out, "\\fR");
        }
        buffer_append_text(out, "\n");
        write_roff(options->help, out);
        buffer_append_text(out, "\n");
    }
}

void args_manual(const struct args_program *p, struct buffer *out)
{
    buffer_append_text(out, ".SH COMMANDS\n");
    for (const struct args_verb *verb = p->verbs; verb->name != NULL; verb++) {
        buffer_append_text(out, ".SS ");
        write_roff(p->name, out);
        buffer_append_text(out, " ");
        write_roff(verb->name, out);
        buffer_append_text(out, " ");
        write_roff(verb->things, out);
        buffer_append_text(out, "\n");
        write_roff(verb->help, out);
        buffer_append_text(out, "\n");
        write_roff_options(verb->options, out);
        buffer_append_text(out, ".PP\n");
        for (size_t i = 0; i < ARRAY_SIZE(verb->example) && verb->example[i] != NULL; i++) {
            buffer_append_text(out, i == 0 ? ".RS\n.nf\n" : "");
            write_roff(verb->example[i], out);
            buffer_append_text(out, "\n");
        }
        buffer_append_text(out, verb->example[0] != NULL ? ".fi\n.RE\n" : "");
    }
    buffer_append_text(out, ".SS Everywhere\n");
    write_roff_options(EVERYWHERE, out);
}
