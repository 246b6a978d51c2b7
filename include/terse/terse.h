/* terse/terse.h: the whole public interface. file -> model -> session -> logits -> sampler -> text. */
#ifndef TERSE_TERSE_H
#define TERSE_TERSE_H

#include "terse/attend.h"
#include "terse/base.h"
#include "terse/calibrate.h"
#include "terse/draft.h"
#include "terse/eval.h"
#include "terse/gguf.h"
#include "terse/kv.h"
#include "terse/model.h"
#include "terse/pareto.h"
#include "terse/probe.h"
#include "terse/profile.h"
#include "terse/quantize.h"
#include "terse/record.h"
#include "terse/sample.h"
#include "terse/session.h"
#include "terse/text.h"

#endif
