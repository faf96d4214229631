// Counts words. A word is a maximal run of the bytes [a-z0-9'] after ASCII lower-casing.
//
// `wordfreq` counts those of its standard input; `wordfreq reduce` adds up the counts in all files below /in, each
// one JSON object as printed by `wordfreq`. Both print one JSON object, word to count, in the order of the words'
// bytes. Words need no escapes in JSON, so nothing here writes or reads any.
#include <dirent.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PATH_SIZE 4096

struct entry {
    char *word; // NULL: free
    uint32_t size;
    uint32_t hash;
    uint64_t count;
};

static struct entry *table;
static size_t capacity, used;

static void fail(const char *what, const char *which) {
    fprintf(stderr, "wordfreq: %s: %s\n", what, which);
    exit(1);
}

static void *allocate(size_t size) {
    void *memory = malloc(size);
    if (memory == NULL) fail("out of memory", "raise the task's memory limit");
    return memory;
}

static uint32_t hash_of(const char *word, size_t size) {
    uint32_t hash = 2166136261u; // FNV-1a
    for (size_t i = 0; i < size; i++) hash = (hash ^ (uint8_t)word[i]) * 16777619u;
    return hash;
}

static void grow(void) {
    struct entry *old = table;
    size_t old_capacity = capacity;
    capacity = capacity == 0 ? 4096 : capacity * 2;
    table = allocate(capacity * sizeof *table);
    memset(table, 0, capacity * sizeof *table);
    for (size_t i = 0; i < old_capacity; i++) {
        if (old[i].word == NULL) continue;
        size_t at = old[i].hash & (capacity - 1);
        while (table[at].word != NULL) at = (at + 1) & (capacity - 1);
        table[at] = old[i];
    }
    free(old);
}

static void add(const char *word, size_t size, uint64_t count) {
    if (used * 10 >= capacity * 7) grow();
    uint32_t hash = hash_of(word, size);
    size_t at = hash & (capacity - 1);
    while (table[at].word != NULL) {
        if (table[at].hash == hash && table[at].size == size && memcmp(table[at].word, word, size) == 0) {
            table[at].count += count;
            return;
        }
        at = (at + 1) & (capacity - 1);
    }
    char *copy = allocate(size);
    memcpy(copy, word, size);
    table[at] = (struct entry){.word = copy, .size = (uint32_t)size, .hash = hash, .count = count};
    used++;
}

// A word that is being read; grows as long as it must.
static char *word;
static size_t word_size, word_capacity;

static void push(char byte) {
    if (word_size == word_capacity) {
        word_capacity = word_capacity == 0 ? 256 : word_capacity * 2;
        word = realloc(word, word_capacity);
        if (word == NULL) fail("out of memory", "raise the task's memory limit");
    }
    word[word_size++] = byte;
}

// The byte as it counts in a word, or 0.
static char in_word(int byte) {
    if (byte >= 'A' && byte <= 'Z') return (char)(byte - 'A' + 'a');
    if ((byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '\'') return (char)byte;
    return 0;
}

static void count_words(FILE *file) {
    static unsigned char buffer[65536];
    size_t size;
    while ((size = fread(buffer, 1, sizeof buffer, file)) > 0) {
        for (size_t i = 0; i < size; i++) {
            char byte = in_word(buffer[i]);
            if (byte != 0) {
                push(byte);
            } else if (word_size > 0) {
                add(word, word_size, 1);
                word_size = 0;
            }
        }
    }
    if (word_size > 0) add(word, word_size, 1);
    word_size = 0;
}

static int next_visible(FILE *file) {
    int byte;
    do byte = getc(file);
    while (byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r');
    return byte;
}

// Reads `"word": 123` after its opening quote, and what comes after it: ',' or '}'.
static int add_member(FILE *file, const char *path) {
    int byte;
    word_size = 0;
    while ((byte = getc(file)) != '"') {
        if (in_word(byte) != byte || byte <= 0) fail("not an object of word counts", path);
        push((char)byte);
    }
    if (next_visible(file) != ':') fail("not an object of word counts", path);
    uint64_t count = 0;
    byte = next_visible(file);
    if (byte < '0' || byte > '9') fail("not an object of word counts", path);
    for (; byte >= '0' && byte <= '9'; byte = getc(file)) count = count * 10 + (uint64_t)(byte - '0');
    if (byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r') byte = next_visible(file);
    add(word, word_size, count);
    word_size = 0;
    return byte;
}

static void add_counts(FILE *file, const char *path) {
    int byte = next_visible(file);
    if (byte == EOF) return; // a task without output
    if (byte != '{') fail("not an object of word counts", path);
    byte = next_visible(file);
    while (byte == '"') {
        byte = add_member(file, path);
        if (byte == ',') byte = next_visible(file);
    }
    if (byte != '}') fail("not an object of word counts", path);
}

static void add_tree(const char *path) {
    DIR *directory = opendir(path);
    if (directory == NULL) fail("cannot be read", path);
    struct dirent *child;
    while ((child = readdir(directory)) != NULL) {
        if (strcmp(child->d_name, ".") == 0 || strcmp(child->d_name, "..") == 0) continue;
        char below[PATH_SIZE];
        if (snprintf(below, sizeof below, "%s/%s", path, child->d_name) >= (int)sizeof below) fail("too long", path);
        struct stat status;
        if (stat(below, &status) != 0) fail("cannot be read", below);
        if (S_ISDIR(status.st_mode)) {
            add_tree(below);
            continue;
        }
        FILE *file = fopen(below, "rb");
        if (file == NULL) fail("cannot be read", below);
        add_counts(file, below);
        fclose(file);
    }
    closedir(directory);
}

static int by_bytes(const void *left, const void *right) {
    const struct entry *a = left, *b = right;
    int order = memcmp(a->word, b->word, a->size < b->size ? a->size : b->size);
    if (order != 0) return order;
    return a->size < b->size ? -1 : a->size > b->size;
}

static void print_counts(void) {
    size_t kept = 0;
    for (size_t i = 0; i < capacity; i++) {
        if (table[i].word != NULL) table[kept++] = table[i];
    }
    qsort(table, kept, sizeof *table, by_bytes);
    putchar('{');
    for (size_t i = 0; i < kept; i++) {
        printf("%s\"%.*s\":%" PRIu64, i == 0 ? "" : ",", (int)table[i].size, table[i].word, table[i].count);
    }
    fputs("}\n", stdout);
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "reduce") == 0) {
        add_tree("/in");
    } else if (argc == 1) {
        count_words(stdin);
    } else {
        fputs("wordfreq: usage: wordfreq < TEXT, or wordfreq reduce with files in /in\n", stderr);
        return 2;
    }
    print_counts();
    return fflush(stdout) == 0 ? 0 : 1;
}
