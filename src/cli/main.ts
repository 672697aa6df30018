#!/usr/bin/env node
import { run } from './run.js'

// `koa-msal sessions list | head` ends the pipe before we do.
process.stdout.on('error', ({ code }: NodeJS.ErrnoException) => process.exit(code === 'EPIPE' ? 0 : 1))
process.exitCode = await run(process.argv.slice(2), process)
