import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Action' });

export const screen: Screen = {
  paths: ['/actions/:ref'],
  title,
  needs: 'actions:read',
  load: () => import('./Screen.svelte'),
};
