# cmake/embed.cmake: the bytes of a file as a C array.   cmake -DIN=<file> -DOUT=<file.c> -DNAME=<array> -P embed.cmake
file(READ ${IN} hex HEX)
string(LENGTH "${hex}" size)
math(EXPR size "${size} / 2")
string(REGEX REPLACE "(................................................)" "\\1\n" hex "${hex}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
file(WRITE ${OUT} "#include <stddef.h>\n\nextern const unsigned char ${NAME}[];\nextern const size_t ${NAME}_size;\n\n"
  "const unsigned char ${NAME}[] = {\n${hex}\n};\nconst size_t ${NAME}_size = ${size};\n")
