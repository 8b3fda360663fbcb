import { cleanup } from '@testing-library/react'
import { afterEach } from 'vitest'

import { forgetTime } from '#modules/shared/services/clock.js'

afterEach(() => {
  cleanup()
  forgetTime()
  localStorage.clear()
  sessionStorage.clear()
})
