// What programs written in C expect of the system that they run on. For the tests: prints one line for each check
// that fails, and ends with their number.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int failed;

#define CHECK(condition)                                                   \
    do {                                                                   \
        if (!(condition)) {                                                \
            printf("line %d: %s (errno %d)\n", __LINE__, #condition, errno); \
            failed++;                                                      \
        }                                                                  \
    } while (0)

static void check_process(int argc, char **argv) {
    CHECK(argc == 3 && strcmp(argv[1], "one") == 0 && strcmp(argv[2], "two words") == 0 && argv[3] == NULL);
    CHECK(getenv("KEY") != NULL && strcmp(getenv("KEY"), "value") == 0);
    CHECK(getenv("HOME") == NULL && getenv("PATH") == NULL);
    char line[32];
    CHECK(fgets(line, sizeof line, stdin) != NULL && strcmp(line, "first\n") == 0);
    CHECK(fgets(line, sizeof line, stdin) != NULL && strcmp(line, "second") == 0);
    CHECK(fgets(line, sizeof line, stdin) == NULL && feof(stdin));
    CHECK(!isatty(0) && !isatty(1));
}

static void check_time(void) {
    time_t now = time(NULL);
    struct tm parts;
    CHECK(now != (time_t)-1 && gmtime_r(&now, &parts) != NULL && parts.tm_year == 126 && parts.tm_mon == 0);
    struct timespec before, after, nap = {.tv_sec = 3, .tv_nsec = 500};
    CHECK(clock_gettime(CLOCK_MONOTONIC, &before) == 0);
    CHECK(nanosleep(&nap, NULL) == 0);
    CHECK(clock_gettime(CLOCK_MONOTONIC, &after) == 0);
    CHECK(after.tv_sec - before.tv_sec >= 3 && after.tv_sec - before.tv_sec <= 4);
    unsigned char a[16], b[16];
    CHECK(getentropy(a, sizeof a) == 0 && getentropy(b, sizeof b) == 0 && memcmp(a, b, sizeof a) != 0);
}

static void check_reading(void) {
    FILE *file = fopen("/in/sub/numbers.txt", "r");
    CHECK(file != NULL);
    if (file == NULL) return;
    int x = 0, y = 0;
    double z = 0;
    CHECK(fscanf(file, "%d %d %lf", &x, &y, &z) == 3 && x == 17 && y == -4 && z == 2.5);
    CHECK(fseek(file, 0, SEEK_END) == 0 && ftell(file) == 9);
    rewind(file);
    CHECK(getc(file) == '1');
    fclose(file);
    CHECK(fopen("/in/none", "r") == NULL && errno == ENOENT);
    CHECK(fopen("/in/sub/numbers.txt", "w") == NULL && errno == EROFS);
    CHECK(fopen("/in/new", "w") == NULL && errno == EROFS);
    CHECK(fopen("/etc/passwd", "r") == NULL && errno == ENOENT);
    CHECK(unlink("/in/sub/numbers.txt") != 0 && errno == EROFS);
    struct stat status;
    CHECK(stat("/in/sub", &status) == 0 && S_ISDIR(status.st_mode));
    CHECK(stat("/in/sub/numbers.txt", &status) == 0 && S_ISREG(status.st_mode) && status.st_size == 9);
    CHECK(access("/in/sub/numbers.txt", R_OK) == 0 && access("/in/no", F_OK) != 0);
}

static void check_writing(void) {
    CHECK(mkdir("/out/made", 0777) == 0);
    CHECK(mkdir("/out/made", 0777) != 0 && errno == EEXIST);
    FILE *file = fopen("/out/made/text", "w+");
    CHECK(file != NULL);
    if (file == NULL) return;
    CHECK(fprintf(file, "%05d|%s|%.3f|%" PRIx64, 42, "text", 3.14159, UINT64_C(0xdeadbeefcafe)) == 29);
    CHECK(fflush(file) == 0 && ftruncate(fileno(file), 10) == 0);
    rewind(file);
    char text[32] = "";
    CHECK(fread(text, 1, sizeof text, file) == 10 && memcmp(text, "00042|text", 10) == 0);
    fclose(file);
    file = fopen("/out/made/text", "a");
    CHECK(file != NULL && fputs("+more", file) >= 0 && fclose(file) == 0);
    CHECK(rename("/out/made/text", "/out/moved") == 0 && rmdir("/out/made") == 0);
    CHECK(chdir("/out") == 0);
    file = fopen("relative", "w");
    CHECK(file != NULL && fclose(file) == 0 && unlink("relative") == 0);
    int fd = open("/out/moved", O_RDWR);
    CHECK(fd >= 0 && pread(fd, text, 4, 10) == 4 && memcmp(text, "+mor", 4) == 0);
    CHECK(pwrite(fd, "!", 1, 20) == 1 && lseek(fd, 0, SEEK_END) == 21 && close(fd) == 0 && close(fd) != 0);
}

static void check_listing(void) {
    DIR *directory = opendir("/in");
    CHECK(directory != NULL);
    if (directory == NULL) return;
    int found = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) found += entry->d_name[0] != '.';
    CHECK(found == 202);
    closedir(directory);
}

static int by_value(const void *left, const void *right) {
    int a = *(const int *)left, b = *(const int *)right;
    return (a > b) - (a < b);
}

static void check_library(void) {
    int numbers[1000];
    for (int i = 0; i < 1000; i++) numbers[i] = (i * 7919) % 1000;
    qsort(numbers, 1000, sizeof *numbers, by_value);
    bool sorted = true;
    for (int i = 0; i < 1000; i++) sorted &= numbers[i] == i;
    CHECK(sorted);
    char *grown = NULL;
    for (size_t size = 1; size <= (size_t)1 << 22; size *= 2) {
        char *moved = realloc(grown, size);
        CHECK(moved != NULL);
        grown = moved;
        grown[size - 1] = (char)size;
    }
    free(grown);
    void *volatile too_much = malloc((size_t)1 << 30);
    CHECK(too_much == NULL);
    volatile double two = 2, zero = 0;
    CHECK(fabs(sqrt(two) - 1.41421356237) < 1e-9 && isnan(zero / zero) && pow(two, 10) == 1024);
    CHECK(strtod("1e-3", NULL) == 0.001 && strtol("-0x7f", NULL, 0) == -127);
}

int main(int argc, char **argv) {
    check_process(argc, argv);
    check_time();
    check_reading();
    check_writing();
    check_listing();
    check_library();
    return failed;
}
