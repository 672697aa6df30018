// MSAL's CommonJS build is one file; as ES modules it is two hundred, which take each thread three times as long to
// load. In a file of its own, because tools that follow imports to what has to be deployed follow this one.
import msal = require('@azure/msal-node')

export = msal
