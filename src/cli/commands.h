/* cli/commands.h: the commands. Each gets its own arguments (argv[0] is the command's name) and returns the
 * exit code of the program: 0 done; 1 the work failed; 2 usage or bad input; 70 internal; 71 memory; 74
 * input/output; 130 interrupted. */
#ifndef TERSE_CLI_COMMANDS_H
#define TERSE_CLI_COMMANDS_H

int terse_cmd_bench(int argc, char **argv);
int terse_cmd_calibrate(int argc, char **argv);
int terse_cmd_eval(int argc, char **argv);
int terse_cmd_eval_density(int argc, char **argv); /* argv[0] is "eval density" */
int terse_cmd_eval_pareto(int argc, char **argv); /* argv[0] is "eval pareto" */
int terse_cmd_inspect(int argc, char **argv);
int terse_cmd_logits(int argc, char **argv);
int terse_cmd_quantize(int argc, char **argv);
int terse_cmd_record(int argc, char **argv);
int terse_cmd_replay(int argc, char **argv);
int terse_cmd_run(int argc, char **argv);
int terse_cmd_template(int argc, char **argv);
int terse_cmd_tokenize(int argc, char **argv);

#endif
