// Draws the Mandelbrot set into /out/mandelbrot.png: `mandelbrot [WIDTH HEIGHT]`, by default 640 by 480.
//
// Integers only (Q28 fixed point), so that the picture is the same everywhere without a word about rounding.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIDE_MAX 4096
#define ITERATIONS_MAX 400
#define ONE (INT64_C(1) << 28)

static uint32_t crc_table[256];

static void crc_prepare(void) {
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t c = n;
        for (int bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
        crc_table[n] = c;
    }
}

static uint32_t crc(uint32_t c, const uint8_t *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) c = crc_table[(c ^ bytes[i]) & 0xff] ^ (c >> 8);
    return c;
}

static void put_u32(uint8_t *to, uint32_t value) {
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(value >> (24 - 8 * i));
}

// A chunk of a PNG file: length, type, data, checksum (PNG specification, section 5.3).
static void chunk(FILE *file, const char *type, const uint8_t *data, uint32_t count) {
    uint8_t number[4];
    put_u32(number, count);
    fwrite(number, 1, 4, file);
    fwrite(type, 1, 4, file);
    if (count > 0) fwrite(data, 1, count, file);
    uint32_t sum = crc(crc(0xffffffffu, (const uint8_t *)type, 4), data, count);
    put_u32(number, ~sum);
    fwrite(number, 1, 4, file);
}

// zlib without compression (RFC 1950, RFC 1951 section 3.2.4): stored blocks of at most 65535 bytes.
static uint8_t *zlib_stored(const uint8_t *raw, uint32_t count, uint32_t *out_count) {
    uint32_t blocks = (count + 65534) / 65535;
    uint8_t *out = malloc((size_t)count + 5u * blocks + 6u);
    if (out == NULL) return NULL;
    uint8_t *to = out;
    *to++ = 0x78;
    *to++ = 0x01;
    uint32_t a = 1, b = 0;
    for (uint32_t from = 0; from < count; from += 65535) {
        uint32_t size = count - from < 65535 ? count - from : 65535;
        *to++ = from + size == count;
        *to++ = (uint8_t)size;
        *to++ = (uint8_t)(size >> 8);
        *to++ = (uint8_t)~size;
        *to++ = (uint8_t)(~size >> 8);
        memcpy(to, raw + from, size);
        to += size;
        for (uint32_t i = 0; i < size; i++) {
            a = (a + raw[from + i]) % 65521;
            b = (b + a) % 65521;
        }
    }
    put_u32(to, b << 16 | a);
    to += 4;
    *out_count = (uint32_t)(to - out);
    return out;
}

// How many steps a point takes to escape; the most if it never does.
static int escape_time(int64_t cx, int64_t cy) {
    int64_t x = 0, y = 0;
    for (int i = 0; i < ITERATIONS_MAX; i++) {
        int64_t xx = x * x >> 28, yy = y * y >> 28;
        if (xx + yy > 4 * ONE) return i;
        y = (x * y >> 27) + cy;
        x = xx - yy + cx;
    }
    return ITERATIONS_MAX;
}

static long side(const char *text) {
    char *end;
    long value = strtol(text, &end, 10);
    return *end == '\0' && value >= 1 && value <= SIDE_MAX ? value : -1;
}

int main(int argc, char **argv) {
    long width = argc > 2 ? side(argv[1]) : 640, height = argc > 2 ? side(argv[2]) : 480;
    if (argc == 2 || width < 0 || height < 0) {
        fprintf(stderr, "mandelbrot: usage: mandelbrot [WIDTH HEIGHT], each from 1 to %d\n", SIDE_MAX);
        return 2;
    }
    uint32_t row = (uint32_t)width + 1, raw_count = row * (uint32_t)height;
    uint8_t *raw = calloc(raw_count, 1); // each row begins with its filter, 0: none
    if (raw == NULL) return 1;
    for (long py = 0; py < height; py++) {
        for (long px = 0; px < width; px++) {
            int64_t cx = -ONE * 22 / 10 + ONE * 3 * px / width;
            int64_t cy = -ONE * 12 / 10 + ONE * 24 * py / (10 * height);
            int steps = escape_time(cx, cy);
            raw[(uint32_t)py * row + 1 + (uint32_t)px] =
                steps == ITERATIONS_MAX ? 0 : (uint8_t)(1 + (steps * 7) % 255);
        }
    }
    uint32_t data_count = 0;
    uint8_t *data = zlib_stored(raw, raw_count, &data_count);
    FILE *file = fopen("/out/mandelbrot.png", "wb");
    if (data == NULL || file == NULL) {
        perror("mandelbrot: /out/mandelbrot.png");
        return 1;
    }
    crc_prepare();
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    fwrite(signature, 1, 8, file);
    uint8_t header[13] = {0};
    put_u32(header, (uint32_t)width);
    put_u32(header + 4, (uint32_t)height);
    header[8] = 8; // bits per sample
    header[9] = 3; // with a palette
    chunk(file, "IHDR", header, 13);
    uint8_t palette[256 * 3] = {0};
    for (int i = 1; i < 256; i++) {
        palette[i * 3] = (uint8_t)(i * i / 255);
        palette[i * 3 + 1] = (uint8_t)(i < 128 ? i : 255 - i / 2);
        palette[i * 3 + 2] = (uint8_t)(255 - i * 2 / 3);
    }
    chunk(file, "PLTE", palette, sizeof palette);
    chunk(file, "IDAT", data, data_count);
    chunk(file, "IEND", NULL, 0);
    if (fclose(file) != 0) return 1;
    printf("wrote /out/mandelbrot.png, %ld x %ld\n", width, height);
    return 0;
}
