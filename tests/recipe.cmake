# tests/recipe.cmake: the training recipe as a toy on a CPU, where Python has what it takes.
#   cmake -DROOT=<source folder> -P recipe.cmake
# Says SKIPPED, which ctest looks for, where it does not.
find_program(python NAMES python3 python)
set(missing "python3")
if(python)
  execute_process(COMMAND ${python} -c "import torch, numpy" RESULT_VARIABLE missing OUTPUT_QUIET ERROR_VARIABLE why)
  if(missing)
    string(REGEX MATCH "[^\n]*Error[^\n]*" missing "${why}")
  endif()
endif()
if(missing)
  message("SKIPPED: models/recipe is not tested, since python3 with torch and numpy is not at hand: ${missing}")
  return()
endif()
execute_process(COMMAND ${CMAKE_COMMAND} -E env PYTHONDONTWRITEBYTECODE=1 ${python} ${ROOT}/models/recipe/train.py --smoke
  RESULT_VARIABLE rc)
if(rc)
  message(FATAL_ERROR "models/recipe/train.py --smoke: ${rc}")
endif()
